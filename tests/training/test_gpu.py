"""What only a machine with a GPU can show; skipped elsewhere."""

import math

import pytest
import torch

import normlab
from normlab.record import Curve
from normlab.run import run
from normlab.training.module import READ_LOSSES_EVERY, Training

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


def losses(result):
    rows = Curve.read(f"{result['path']}/curve.csv")
    return [row.value for row in rows if (row.split, row.metric) == ("train", "loss")]


@pytest.mark.parametrize("norm", ["dataset", "per_image", "learned"])
@pytest.mark.parametrize("arch", ["cnn", "vit"])
def test_a_gpu_trains_as_a_cpu_does(make, arch, norm):
    """In double precision, where the order of sums hardly matters."""
    options = {"trainer.precision": 64, "trainer.max_epochs": 1, "data.limit": 256}
    here, there = (
        run(make(data="photos", arch=arch, norm=norm, **options, **{"trainer.accelerator": name}))
        for name in ("cpu", "gpu")
    )
    assert there["provenance"]["device"].startswith("cuda")
    assert losses(there) == pytest.approx(losses(here), rel=1e-6)
    images = normlab.dataset("photos", limit=20).test.images
    answers = [normlab.load(f"{result['path']}/checkpoint.ckpt")(images) for result in (here, there)]
    torch.testing.assert_close(*answers, rtol=1e-4, atol=1e-4)


def test_no_step_waits_for_the_gpu(make, monkeypatch):
    """Between the first step, which is measured, and those at which losses are read."""
    plain, watched = Training._train_on, []

    def watch(self, batch, index, backward):
        step = self.global_step
        free = step > 0 and (step + 1) % READ_LOSSES_EVERY
        torch.cuda.set_sync_debug_mode("error" if free else "default")
        try:
            plain(self, batch, index, backward)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        watched.append(bool(free))

    monkeypatch.setattr(Training, "_train_on", watch)
    result = run(make(data="photos", arch="cnn", augment="crop_flip", **{"trainer.max_epochs": 2}))
    assert sum(watched) > 50
    assert math.isfinite(result["metrics"]["test_loss"])


@pytest.mark.parametrize("precision", ["bf16-mixed", "32"])
def test_a_network_learns_in_every_precision(make, precision):
    result = run(make(data="digits", arch="cnn", **{"trainer.precision": precision, "trainer.max_epochs": 3}))
    assert result["metrics"]["test_accuracy"] > 0.7
