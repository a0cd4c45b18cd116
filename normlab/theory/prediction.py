"""The prediction for one run of the linear model, and its comparison with the measurements of the run."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from normlab.archs import Network
from normlab.archs.linear import Linear
from normlab.config import Config, GradientDescent
from normlab.data import Dataset, cache
from normlab.errors import ConfigError
from normlab.norms import Normalization
from normlab.record import Measurement
from normlab.theory.descent import Descent, descent, iterations_by_condition_number
from normlab.theory.moments import Moments, is_affine, moments_under, raw_moments, streamed_moments
from normlab.theory.spectrum import Spectrum

EPS = (0.1, 0.01, 0.001)  # relative excess losses whose iterations are predicted and measured


@dataclass(frozen=True)
class Prediction:
    """The theory of gradient descent on the linear model with squared error, for one run.

    Attributes:
        descent: the loss in the eigenbasis of the Hessian.
        rate: learning rate of the run.
        momentum: of the run.
        exact: whether the run follows the theory: full batches, constant rate, no decay, clipping or augmentation.
    """

    descent: Descent
    rate: float
    momentum: float
    exact: bool

    def metrics(self) -> dict[str, Any]:
        """The predicted numbers of the record, which need no run."""
        spectrum, theory = self.descent.spectrum, self.descent
        numbers: dict[str, Any] = {
            "lambda_max": spectrum.lambda_max,
            "lambda_min": spectrum.lambda_min,
            "condition_number": spectrum.condition_number,
            "full_condition_number": spectrum.full_condition_number,
            "rank": spectrum.rank,
            "features": len(spectrum.eigenvalues),
            "rank_threshold": spectrum.threshold,
            "stable_rate": theory.stable_rate(self.momentum),
            "best_rate": theory.best_rate,
            "optimum": theory.optimum,
            "iterations_by_condition_number": {
                f"{eps:g}": iterations_by_condition_number(spectrum.condition_number, eps) for eps in EPS
            },
        }
        if self.exact and self.momentum == 0:
            numbers["predicted_iterations"] = {f"{eps:g}": theory.iterations(eps, self.rate) for eps in EPS}
        return numbers

    def rows(self, rows: list[Measurement]) -> list[Measurement]:
        """The predicted loss at every step whose training loss was measured, or no rows if the theory is not exact."""
        steps = [row.step for row in rows if row.split == "train" and row.metric == "loss"]
        if not self.exact or not steps:
            return []
        curve = self.descent.curve(max(steps), self.rate, self.momentum).tolist()
        return [Measurement(step, float(step), "theory", "loss", curve[step]) for step in steps]

    def compare(self, rows: list[Measurement], levels: tuple[float, ...] = EPS) -> dict[str, Any]:
        """The measured values of the predicted quantities.

        ``measured_iterations`` is the first step at which the relative excess over the predicted optimum is at most
        eps, infinite if there is no such step; ``curve_deviation`` is the largest difference between
        measured and predicted loss, as a share of the initial excess loss.

        Args:
            rows: of the run.
            levels: the values of eps.
        """
        if not self.exact:
            return {}
        measured = {row.step: row.value for row in rows if row.split == "train" and row.metric == "loss"}
        predicted = {row.step: row.value for row in self.rows(rows)}
        span = self.descent.initial - self.descent.optimum
        first = {
            f"{eps:g}": next(
                (float(step) for step, loss in measured.items() if loss - self.descent.optimum <= eps * span), math.inf
            )
            for eps in levels
        }
        off = [abs(measured[step] - loss) / span for step, loss in predicted.items() if math.isfinite(measured[step])]
        return {"measured_iterations": first, "curve_deviation": max(off, default=math.nan)}


def predict(config: Config, data: Dataset, network: Network) -> Prediction | None:
    """The prediction for a run; None unless the model is linear and the loss is the squared error; None for forecasts.

    Raises:
        ConfigError: if the rate is ``auto`` and there is no prediction.
        DataError: for more features than a dense Hessian can hold.
    """
    options = config.optim
    if not isinstance(network.body, Linear) or config.arch.loss != "squared_error" or network.forecasts:
        if options.lr == "auto":
            raise ConfigError(
                "optim.lr=auto is 1/lambda_max of the linear model with squared error (arch=linear "
                "arch.loss=squared_error); for another model or loss give a number: optim.lr=NUMBER"
            )
        return None
    theory = _descent(config, data, network.norm, network.body.layer)
    rate = 1 / theory.spectrum.lambda_max if options.lr == "auto" else options.lr
    exact = (
        isinstance(options, GradientDescent)
        and options.schedule == "constant"
        and options.warmup_epochs == 0
        and options.weight_decay == 0
        and options.clip_norm is None
        and not config.augment.changes_images
        and not any(True for _ in network.norm.parameters())
    )
    return Prediction(theory, rate, getattr(options, "momentum", 0.0), exact)


def _descent(config: Config, data: Dataset, norm: Normalization, layer: nn.Linear) -> Descent:
    """The theory of descent, from the cache if the weights are zero and data and scheme were analyzed before."""
    bias = layer.bias is not None
    start = torch.cat([layer.weight.T, layer.bias[None]]) if bias else layer.weight.T
    if start.any():
        return descent(dataset_moments(data, norm), bias, start.detach().double())
    front = data.front and data.front.plain()
    known = [data.key, data.black, data.white, data.target, config.plain()["norm"], front, probe(data, norm), bias]
    about = json.dumps(known, sort_keys=True)

    def make() -> dict[str, Any]:
        theory = descent(dataset_moments(data, norm), bias)
        spectrum = theory.spectrum
        return {
            "eigenvalues": spectrum.eigenvalues,
            "threshold": spectrum.threshold,
            "energy": theory.energy,
            "initial": theory.initial,
        }

    name = "theory-" + hashlib.blake2b(about.encode(), digest_size=16).hexdigest()
    kinds = {"eigenvalues": torch.Tensor, "threshold": float, "energy": torch.Tensor, "initial": float}
    entry = cache.remember(name, make, kinds)
    return Descent(Spectrum(entry["eigenvalues"], entry["threshold"]), entry["energy"], entry["initial"])


def probe(data: Dataset, norm: Normalization) -> str:
    """A hash of what a fitted scheme makes of the first batch of training inputs, for the key of the cache.

    Options are not all that decides it: the front end of recordings, the formula of a scheme that a user edits, its
    statistics.
    """
    with torch.no_grad():
        output = norm(next(data.training_inputs())).cpu().contiguous()
    return hashlib.blake2b(output.numpy().data, digest_size=16).hexdigest()


def dataset_moments(data: Dataset, norm: Normalization, raw: tuple[Moments, Any] | None = None) -> Moments:
    """Moments of the training images under a fitted scheme.

    Args:
        data: the data set.
        norm: fitted.
        raw: :func:`raw_moments` of the training images, if they are known already.
    """
    classes = len(data.classes)
    if not is_affine(norm):
        return streamed_moments(data.training_batches(), norm, classes)
    return moments_under(norm, *(raw or raw_moments(data.training_batches(), classes, (data.black, data.white))))
