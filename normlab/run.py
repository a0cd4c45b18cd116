"""One run, one line for each stage: data, normalization, network, theory, training, record."""

from __future__ import annotations

import logging
import time
from typing import Any

import torch

from normlab import record
from normlab.archs import Network
from normlab.config import Config
from normlab.data import Dataset, load, open_source, require_spread
from normlab.data.splits import Source
from normlab.errors import ConfigError
from normlab.inputs import evenly_spaced
from normlab.norms import Affine, Masked, Normalization, build_scheme, require_unchanged_tokens
from normlab.record import Curve, divergence, pack, summarize
from normlab.shifts import require_suitable
from normlab.theory.prediction import predict
from normlab.training import Outcome, mirrored, start_from, train

log = logging.getLogger(__name__)

NEARLY_THE_SAME = 0.05  # largest change of a normalized pixel without a warning
DESCRIBED_IMAGES = 10_000  # most training images for the statistics of normalized pixels
SHOWN_IMAGES = 256  # most training images in W&B's histogram of normalized pixels


def run(
    config: Config,
    imports_seconds: float = float("nan"),
    progress: str = "auto",
    again: bool = True,
    source: Source | None = None,
) -> dict[str, Any]:
    """Train one network under one normalization, and write its record.

    Args:
        config: checked.
        imports_seconds: time that the process spent on imports, for the record.
        progress: the value of ``trainer.progress`` to take if the configuration has ``auto``.
        again: run it again if it has a record.
        source: of the data, if it is open already.

    Returns:
        The record, as in ``record.json``, and the ``path`` of its folder.

    Raises:
        NormlabError: for a mistake of the user; no files are left then.
    """
    clock = Clock()
    record.require_writable(config.runs)
    if config.trainer.threads:
        torch.set_num_threads(config.trainer.threads)
    source = source or open_source(config.data)
    content = source.content
    with record.opened(config, again, content) as folder:
        data = load(config.data, source)
        require_spread(data)
        require_fitting(config, data)  # now, not after the training
        clock.lap("data")
        norm = build_scheme(config.norm, data.front, data.masked).set_range(data.black, data.white)
        if data.kind == "text":
            require_unchanged_tokens(norm, config.norm.name, data.tokens)
        norm.fit(data.training_inputs())
        clock.lap("fit")
        # Seeded after the fit, so that the initial weights are the same under every scheme.
        torch.manual_seed(config.seed)
        network = Network.for_data(norm, config.arch, data)
        if config.weights:
            start_from(network, config.weights)
        warn_of_mismatch(config.norm.name, network)
        clock.lap("model")
        prediction = predict(config, data, network)
        resolved = config if prediction is None else config.with_rate(prediction.rate)
        clock.lap("theory")
        normalized = describe_normalized(norm, data)
        clock.lap("description")

        with mirrored(config, folder) as mirror:
            if mirror.sends and data.kind != "text":  # tokens are names
                mirror.show_inputs(normalized_sample(norm, data, SHOWN_IMAGES))
            clock.lap("logger")
            # With several processes, everything is sent at the end.
            mirrors = mirror.sends and config.trainer.devices == 1
            outcome = train(resolved, data, network, folder, [mirror] if mirrors else [], progress)
            clock.lap("training")
            result = {
                **record.describe(config, content),
                "lr": resolved.optim.lr,
                "normalized": normalized | {"shape": list(network.normalized_shape)},
                "target": None if data.target is None else data.target._asdict(),
                **results(config, data, outcome, network.norm.trained()),
                "seconds": {
                    "imports": imports_seconds,
                    **clock.laps,
                    "to_first_step": outcome.first_step_at - clock.start,
                },
            }
            if prediction is not None:
                result["metrics"] |= prediction.metrics() | prediction.compare(outcome.rows)
                Curve(folder / "curve.csv").append(prediction.rows(outcome.rows))
            mirror.send(outcome.rows)
            mirror.finish(result)
        record.write(folder, result)
    return result | {"path": str(record.folder(config, content))}


def require_fitting(config: Config, data: Dataset) -> None:
    """Refuse augmentation of what is no image, and shifts of test inputs of another kind.

    Raises:
        ConfigError: for augmentation, unless the inputs are images; for what changes values, unless they have 8 bits;
            for padding with a black that their type does not hold.
        DataError: for a shift that is of another kind of inputs, or needs three channels.
    """
    if config.augment.changes_images and data.kind != "images":
        raise ConfigError(
            f"augment={config.augment.name}: for images only; {config.data.name} has {data.kind}: leave augment out"
        )
    if data.kind == "images" and data.input_type != torch.uint8:
        # What computes with the values of pixels is defined for 8 bits.
        named = [f"augment.{key}" for key in ("resized_crop", "brightness", "contrast") if getattr(config.augment, key)]
        if named := [*named, *["trainer.shifts"] * bool(config.trainer.shifts)]:
            kind = str(data.input_type).removeprefix("torch.") + (", by data.mask" if data.masked else "")
            raise ConfigError(f"{named[0]}: for images of 8 bits; these are {kind}: leave it out")
    if config.augment.crop_padding and not data.input_type.is_floating_point:
        limits = torch.iinfo(data.input_type)
        if not (data.black.is_integer() and limits.min <= data.black <= limits.max):
            kind = str(data.input_type).removeprefix("torch.")
            raise ConfigError(
                f"augment.crop_padding: adds pixels of data.black={data.black:g}, which images of {kind} do not hold: "
                f"leave it out, or give another data.black"
            )
    require_suitable(config.trainer.shifts, data.kind, data.shape[0])


def warn_of_mismatch(name: str, network: Network) -> None:
    """Warn if the weights of a trained network were trained with another normalization than this run's."""
    expectation = getattr(network.body, "expectation", None)
    if expectation is None:
        return
    norm = network.norm.scheme if isinstance(network.norm, Masked) else network.norm
    if isinstance(norm, Affine) and expectation.differs(norm.mean, norm.std) < NEARLY_THE_SAME:
        return
    own = _in_first_channel(expectation.mean[0], expectation.std[0])
    if isinstance(norm, Affine):
        here = _in_first_channel(norm.mean[0].mean().item(), norm.std[0].mean().item())
    else:
        here = "a normalization that is not a fixed scale and shift"
    trained = f"{own} ({expectation.source})"
    log.warning(
        "norm=%s is not the normalization that the weights were trained with: %s; this run has %s", name, trained, here
    )


def _in_first_channel(mean: float, std: float) -> str:
    return f"mean {mean:.3f} and std {std:.3f} in the first channel"


def results(config: Config, data: Dataset, outcome: Outcome, trained: dict[str, float]) -> dict[str, Any]:
    """The part of a record that training determines; ``trained`` are the trained values of the normalization."""
    diverged_at = divergence(outcome.rows)
    metrics: dict[str, Any] = summarize(outcome.rows, config.trainer.targets) | trained
    metrics["training_seconds"] = outcome.seconds
    metrics["images_per_second"] = metrics["epochs"] * len(data.train) / outcome.seconds
    provenance = {
        "device": outcome.device,
        "device_name": torch.cuda.get_device_name(outcome.device) if outcome.device.startswith("cuda") else None,
        "threads": torch.get_num_threads(),
        "data_key": data.key,
        "test_key": data.test_key,
        "data_notes": list(data.notes),
        "images": {name: len(split) for name, split in data.splits.items()},
    }
    return {
        "status": "finished" if diverged_at is None else "diverged",
        "diverged_at": diverged_at,
        "metrics": metrics,
        "correct": None if outcome.answers is None or diverged_at is not None else pack(outcome.answers),
        "provenance": record.provenance() | provenance,
    }


def describe_normalized(norm: Normalization, data: Dataset) -> dict[str, float]:
    """Mean, standard deviation and range of the normalized training images at the start.

    Over all training images, or over ``DESCRIBED_IMAGES`` evenly spaced ones; ``images`` is their number. The zeros of
    pixels that a mask leaves out count, because the network sees them.
    """
    images, size, total, squares = 0, 0, 0.0, 0.0
    low, high = float("inf"), float("-inf")
    with torch.no_grad():
        for batch, _ in data.train.batches(256, evenly_spaced(len(data.train), DESCRIBED_IMAGES)):
            output = norm(batch)
            images, size = images + len(batch), size + output.numel()
            total += output.sum(dtype=torch.float64).item()
            squares += output.double().square_().sum().item()
            low, high = min(low, output.min().item()), max(high, output.max().item())
    mean = total / size
    variance = max(0.0, squares / size - mean**2)
    return {"mean": mean, "std": variance**0.5, "min": low, "max": high, "images": images}


@torch.no_grad()
def normalized_sample(norm: Normalization, data: Dataset, most: int) -> torch.Tensor:
    """At most so many normalized training images, evenly spaced, float [N, C, *positions]."""
    with torch.random.fork_rng(devices=[]):  # of which a loader draws: a run is the same with W&B and without
        return torch.cat([norm(batch) for batch, _ in data.train.batches(256, evenly_spaced(len(data.train), most))])


class Clock:
    """Seconds between laps."""

    def __init__(self) -> None:
        self.start = self._last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """Store the seconds since the previous lap under this name."""
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now
