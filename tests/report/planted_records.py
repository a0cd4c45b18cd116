"""Records of the study learning_rates whose best rates are known."""

import math

import numpy as np

from normlab import record
from normlab.commandline.grid import expected

RATES = "optim.lr=1e-4,1e-2,1"
OVERRIDES = [RATES, "seed=range(0,6)", "trainer.max_epochs=4"]
BEST = {"raw": 1e-4, "unit": 1.0, "centered": 1e-2, "dataset": 1e-2}


def plant(runs, overrides=OVERRIDES):
    """Records of learning_rates: unit needs a rate of 1, raw diverges above 1e-4, centered never gets to 0.7."""
    generator = np.random.default_rng(0)
    for config in expected("learning_rates", overrides):
        config = config.model_copy(update={"runs": runs})
        norm, lr, seed = config.norm.name, config.optim.lr, config.seed
        accuracy = 0.8 if lr == BEST[norm] else 0.5
        accuracy = min(accuracy, 0.65 if norm == "centered" else 1) + 0.01 * seed + 0.001 * generator.normal()
        diverged = norm == "raw" and lr > 1e-4
        if diverged:
            accuracy = math.nan
        path = record.folder(config)
        path.mkdir(parents=True)
        metrics = {
            "test_accuracy": accuracy,
            "validation_accuracy": accuracy,
            "epochs_to": {"0.7": 2.0 + seed if accuracy >= 0.7 else math.inf},
            "steps_to": {"0.7": 10 * (2.0 + seed) if accuracy >= 0.7 else math.inf},
        }
        described = record.describe(config) | {"status": "diverged" if diverged else "finished", "metrics": metrics}
        record.write(path, described)
        rows = [f"{step},{float(step)},train,loss,{1 / (step + 1)}" for step in range(1000)]
        rows += [f"{epoch},{float(epoch)},validation,accuracy,{accuracy * epoch / 4}" for epoch in range(5)]
        (path / "curve.csv").write_text("\n".join(["step,epoch,split,metric,value", *rows]) + "\n")
