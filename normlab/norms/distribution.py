"""Schemes that follow the distribution of the training values: cut at percentiles, to ranks, to a normal shape."""

from __future__ import annotations

import logging
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from normlab.config import PositiveInt
from normlab.errors import ConfigError, DataError
from normlab.norms.base import LooksAt, Normalization, along_channels
from normlab.norms.estimators import Axes, summed_dims
from normlab.norms.moments import Values

log = logging.getLogger(__name__)

Percent = Annotated[float, Field(ge=0, le=100)]
BORDER = 1e-7  # scikit-learn's BOUNDS_THRESHOLD: a normal output ends at the quantiles of this and 1 minus this


class Percentile(Normalization):
    """(v - mean)/std with v = u cut off at two percentiles, and mean and std those of u, before the cut.

    Of the training set, this is nnU-Net's scheme for CT (Isensee et al. 2021, "nnU-Net", nature methods 18, and
    CTNormalization in its code): percentiles 0.5 and 99.5, mean and standard deviation of the foreground. With
    ``output=unit`` it is (v - low)/(high - low), MONAI's ScaleIntensityRangePercentiles with clip=True.

    Args:
        low: percentile, 0 to 100.
        high: percentile, above ``low``.
        per_image: percentiles and statistics of each image; False: of the training set.
        axes: ``channel``: of each channel; ``all``: of all channels together.
        ignore: a value in units of x that does not count, such as that of the air around a scan; None: all count.
        output: ``standard`` or ``unit``, see above.
    """

    limits: Tensor
    statistics: Tensor

    def __init__(
        self,
        *,
        low: Percent = 0.5,
        high: Percent = 99.5,
        per_image: bool = False,
        axes: Literal["channel", "all"] = "channel",
        ignore: float | None = None,
        output: Literal["standard", "unit"] = "standard",
    ) -> None:
        super().__init__()
        if low >= high:
            raise ConfigError(f"norm.low={low:g} and norm.high={high:g}: the low percentile must be below the high one")
        self.shares = torch.tensor([low, high], dtype=torch.float64) / 100
        self.per_image, self.ignore, self.output = per_image, ignore, output
        self.axes: Axes = axes
        self.register_buffer("limits", torch.zeros(0, dtype=torch.float64))  # low, high [2, C, 1, ...], units of u
        self.register_buffer("statistics", torch.zeros(0, dtype=torch.float64))  # center, spread, of the same shape

    @property
    def is_fitted_from_data(self) -> bool:
        """Whether the statistics are those of the training set."""
        return not self.per_image

    @property
    def looks_at(self) -> LooksAt:
        """See :attr:`normlab.norms.base.Normalization.looks_at`."""
        return "sample" if self.per_image else "pixel"

    def summarize(self, inputs: Tensor) -> Values:  # noqa: D102
        return Values.of(inputs, (0, *summed_dims(self.axes, inputs.ndim)), self.ignore)

    def finish(self, summary: Values, shape: torch.Size) -> None:  # noqa: D102
        limits, statistics = self._of(summary, *self.ends)
        self.limits, self.statistics = limits[:, 0].to(self.black.device), statistics[:, 0].to(self.black.device)

    def _of(self, values: Values, black: float | Tensor, span: float | Tensor) -> tuple[Tensor, Tensor]:
        limits = values.quantiles(self.shares, black, span)
        if self.output == "unit":
            return limits, torch.stack([limits[0], limits[1] - limits[0]])
        return limits, torch.stack(values.mean_and_std(black, span))

    def normalize(self, inputs: Tensor) -> Tensor:
        """[B, C, *positions] to floats of the same shape."""
        black, span = self.range_for(inputs)
        if self.per_image:
            values = Values.of(inputs, summed_dims(self.axes, inputs.ndim), self.ignore)
            limits, statistics = self._of(values, black, span)
        else:
            limits, statistics = self.limits, self.statistics
            if limits.ndim != inputs.ndim or limits.shape[1] not in (1, inputs.shape[1]):
                raise DataError(f"fitted on {limits.shape[1]} channels, given inputs {list(inputs.shape[1:])}")
        dtype = self.working_type(inputs)
        low, high = (black + span * limits).to(dtype)
        center, spread = statistics
        scale = torch.where(spread == 0, 0.0, 1 / (span * spread)).to(dtype)
        x = torch.minimum(torch.maximum(inputs.to(dtype), low), high)
        return x.sub_((black + span * center).to(dtype)).mul_(scale)


class _Curve(Normalization):
    """A rising curve for each channel, from the values of the training set."""

    curve: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("curve", torch.zeros(0, dtype=torch.float64))  # [C, K]

    @property
    def looks_at(self) -> LooksAt:
        return "pixel"

    def summarize(self, inputs: Tensor) -> Values:
        return Values.of(inputs, (0, *summed_dims("channel", inputs.ndim)))

    def normalize(self, inputs: Tensor) -> Tensor:
        """[B, C, *positions] to floats of the same shape."""
        if inputs.shape[1] != len(self.curve):
            raise DataError(f"fitted on {len(self.curve)} channels, given inputs {list(inputs.shape[1:])}")
        if inputs.dtype == torch.uint8:  # a table of the 256 levels is much faster, and the same
            levels = torch.arange(256, dtype=torch.float64, device=inputs.device)[:, None].expand(-1, len(self.curve))
            table = self.apply_curve((levels - self.black) / self.span).to(self.dtype)
            return table[inputs.long(), along_channels(torch.arange(len(self.curve), device=inputs.device), inputs)]
        return self.apply_curve((inputs.to(torch.float64) - self.black) / self.span).to(self.dtype)

    def apply_curve(self, u: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} defines no apply_curve(u)")


class Quantile(_Curve):
    """The rank of u among the training values of its channel, 0 to 1, or the normal quantile of this rank.

    scikit-learn's QuantileTransformer with subsample=None: linear between quantiles; of equal quantiles, the mean of
    the lowest and the highest rank; outside of the training values, the rank of the nearest.

    Args:
        quantiles: number of quantiles of the curve, at most the number of training values of a channel.
        output: ``uniform`` for the rank, or ``normal`` for its quantile of the standard normal distribution, within
            +-5.2, the quantiles of BORDER and 1 - BORDER.
    """

    def __init__(self, *, quantiles: PositiveInt = 1000, output: Literal["uniform", "normal"] = "uniform") -> None:
        super().__init__()
        if quantiles < 2:
            raise ConfigError("norm.quantiles=1: a curve needs at least 2 quantiles")
        self.quantiles, self.output = quantiles, output

    def finish(self, summary: Values, shape: torch.Size) -> None:  # noqa: D102
        values = int(summary.levels()[1].sum(1)[0])
        if values < 2:
            raise DataError("quantiles need at least 2 training values of each channel")
        if values < self.quantiles:
            log.warning("quantile: %d quantiles, as many as there are values; not %d", values, self.quantiles)
        shares = torch.linspace(0, 1, min(self.quantiles, values), dtype=torch.float64)
        curve = summary.quantiles(shares, *self.ends).reshape(len(shares), -1).T
        # Rounding may make a quantile a little smaller than the one before it.
        self.curve = curve.cummax(1).values.contiguous().to(self.black.device)

    def apply_curve(self, u: Tensor) -> Tensor:
        """Ranks, or normal quantiles of them."""
        rows = u.movedim(1, 0).reshape(len(self.curve), -1).contiguous()
        last = self.curve.shape[1] - 1
        rank = torch.linspace(0, 1, last + 1, dtype=torch.float64, device=u.device)

        def interpolated(right: bool) -> Tensor:
            above = torch.searchsorted(self.curve, rows, right=right).clamp(1, last)
            low, high = self.curve.gather(1, above - 1), self.curve.gather(1, above)
            share = torch.where(high > low, (rows - low) / (high - low), 1.0 if right else 0.0)
            return rank[above - 1] + share * (rank[above] - rank[above - 1])

        y = 0.5 * (interpolated(True) + interpolated(False))
        margin = BORDER if self.output == "normal" else 0.0
        y = torch.where(rows + margin >= self.curve[:, -1:], 1.0, y)
        y = torch.where(rows - margin <= self.curve[:, :1], 0.0, y)
        if self.output == "normal":
            border = torch.special.ndtri(torch.tensor(BORDER - np.spacing(1), dtype=torch.float64))
            y = torch.special.ndtri(y).clamp(border.item(), -border.item())
        return y.reshape(u.shape[1], u.shape[0], *u.shape[2:]).movedim(0, 1)


class Power(_Curve):
    """(psi(u) - mean)/std with the power psi of each channel that makes the training values most nearly normal.

    psi is Yeo & Johnson's transformation: ((u + 1)^p - 1)/p for u >= 0, -((1 - u)^(2 - p) - 1)/(2 - p) for u < 0, with
    their limits log(1 + u) at p = 0 and -log(1 - u) at p = 2; p has the largest likelihood (Yeo & Johnson 2000, "A new
    family of power transformations to improve normality or symmetry", eq. 2.1 and 3.1). A constant channel keeps p = 1
    and becomes 0. scikit-learn's PowerTransformer.

    Args:
        standardize: subtract the mean and divide by the standard deviation of psi(u); False: psi(u) itself.
    """

    def __init__(self, *, standardize: bool = True) -> None:
        super().__init__()
        self.standardize = standardize

    def finish(self, summary: Values, shape: torch.Size) -> None:  # noqa: D102
        black, span = self.ends
        values, weights = (value.cpu().numpy() for value in summary.levels())
        rows = []
        for c in range(len(weights)):
            counted = weights[c] > 0
            u = ((values[c if len(values) > 1 else 0].astype(np.float64) - black) / span)[counted]
            rows.append(fit_power(u, weights[c][counted].astype(np.float64)))
        self.curve = torch.tensor(rows, dtype=torch.float64, device=self.black.device)  # [C, 3]: p, mean, std

    def apply_curve(self, u: Tensor) -> Tensor:
        """The transformation of each channel."""
        power, mean, std = (along_channels(column, u) for column in self.curve.T)
        y = yeo_johnson(u, power)
        return (y - mean) / std if self.standardize else y


def yeo_johnson(u: Tensor, power: Tensor) -> Tensor:
    """The transformation psi of :class:`Power`, elementwise."""
    exponent = torch.where(u < 0, 2 - power, power)
    grown = torch.log1p(u.abs())
    safe = torch.where(exponent == 0, 1.0, exponent)
    size = torch.where(exponent == 0, grown, torch.expm1(exponent * grown) / safe)
    return torch.where(u < 0, -size, size)


def fit_power(u: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float, float]:
    """The power with the largest likelihood, and mean and standard deviation (ddof 0) of the transformed values.

    Args:
        u: values.
        weights: how often each counts.
    """
    from scipy.optimize import fminbound  # here, because the import is slow and only this scheme needs it

    total = weights.sum()
    grown = np.sign(u) * np.log1p(np.abs(u))
    jacobian = (weights * grown).sum() / total

    def moments(power: float) -> tuple[float, float]:
        y = yeo_johnson(torch.from_numpy(u), torch.tensor(power, dtype=torch.float64)).numpy()
        mean = (weights * y).sum() / total
        return mean, (weights * (y - mean) ** 2).sum() / total

    def loss(power: float) -> float:
        """Minus the profile log-likelihood of one value, eq. 3.1."""
        with np.errstate(over="ignore", invalid="ignore"):
            variance = moments(power)[1]
        if not 0 < variance < np.inf:
            return np.inf
        return 0.5 * float(np.log(variance)) - (power - 1) * float(jacobian)

    if u.min() == u.max():
        return 1.0, float(u[0]), 1.0
    with np.errstate(invalid="ignore"):  # steps between two infinite losses
        power = float(fminbound(loss, *_safe_powers(u), xtol=1.48e-8))
    mean, variance = moments(power)
    return power, float(mean), float(np.sqrt(variance))


def _safe_powers(u: NDArray[np.float64]) -> tuple[float, float]:
    """Bounds of the power within which values up to 20 times the largest do not overflow, as in scipy's yeojohnson."""
    largest = np.log1p(20 * np.abs(u).max())
    limits, eps = np.finfo(np.float64), np.log(np.finfo(np.float64).eps)
    low, high = (np.log(limits.tiny) - eps) / 2 / largest, (np.log(limits.max) + eps) / 2 / largest
    if (u < 0).all():
        return 2 - high, 2 - low
    return (max(2 - high, low), min(2 - low, high)) if (u < 0).any() else (low, high)
