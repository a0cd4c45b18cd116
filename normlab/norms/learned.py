"""Schemes whose statistics are trained, or chosen image by image."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from normlab.config import PositiveInt
from normlab.errors import DataError
from normlab.norms.base import LooksAt, Normalization, along_channels
from normlab.norms.moments import Sums


class Learned(Normalization):
    """(u - mu_c)/sigma_c, with mu and sigma trained along with the network.

    sigma is the exponential of the trained parameter, hence positive. mu is of the network's type, float32: where u
    lies far from 0, as counts in the millions do, give the range, data.black and data.white, so that it holds mu.

    Args:
        start: ``unit``, mu 0 and sigma 1; or ``dataset``, the training images' pooled statistics.
    """

    def __init__(self, *, start: Literal["unit", "dataset"] = "unit") -> None:
        super().__init__()
        self.start = start
        self.mu = nn.Parameter(torch.zeros(0))  # [C], units of u
        self.log_sigma = nn.Parameter(torch.zeros(0))  # [C]

    @property
    def looks_at(self) -> LooksAt:
        """See :attr:`normlab.norms.base.Normalization.looks_at`."""
        return "pixel"

    def summarize(self, inputs: Tensor) -> Any:
        """Sums of each channel; nothing with ``start=unit``, where only the number of channels counts."""
        return Sums.of(inputs, (0, *range(2, inputs.ndim))) if self.start == "dataset" else ()

    def finish(self, summary: Any, shape: torch.Size) -> None:  # noqa: D102
        mean, std = torch.zeros(shape[0]), torch.ones(shape[0])
        if self.start == "dataset":
            mean, std = (value.flatten() for value in summary.mean_and_std(*self.ends))
            std = torch.where(std == 0, 1.0, std)
        like = self.output_like
        self.mu.data, self.log_sigma.data = mean.to(like), std.log().to(like)

    @property
    def scale(self) -> Tensor:
        """The current factor on x, [C, 1, 1]."""
        return self._map(4, self.dtype)[0]

    @property
    def shift(self) -> Tensor:
        """The current summand, [C, 1, 1]."""
        return self._map(4, self.dtype)[1]

    def trained(self) -> dict[str, float]:
        """Means mu and standard deviations sigma of the channels, in units of u."""
        columns = {"learned_mean": self.mu, "learned_std": self.log_sigma.exp()}
        return {f"{name}.{c}": value for name, column in columns.items() for c, value in enumerate(column.tolist())}

    def normalize(self, inputs: Tensor) -> Tensor:
        """[B, C, *positions] to floats of the same shape."""
        if inputs.shape[1] != len(self.mu):
            raise DataError(f"fitted on {len(self.mu)} channels, given inputs {list(inputs.shape[1:])}")
        dtype = self.working_type(inputs)
        scale, shift = self._map(inputs.ndim, dtype)
        return inputs.to(dtype) * scale + shift

    def _map(self, ndim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        mu, log_sigma = (value.to(dtype).reshape(-1, *[1] * (ndim - 2)) for value in (self.mu, self.log_sigma))
        return torch.exp(-log_sigma) / self.span, -(mu + self.black / self.span) * torch.exp(-log_sigma)

    def denormalize(self, outputs: Tensor, inputs: Tensor) -> Tensor:
        """(outputs - shift)/scale; see :meth:`Normalization.denormalize`."""
        scale, shift = self._map(outputs.ndim, outputs.dtype)
        return (outputs - shift) / scale


class Adaptive(Normalization):
    """(u - m_kc)/s_kc with the statistics of the domain k that the image belongs to.

    The detector assigns an image to the nearest of K centers in the space of its channels' means and standard
    deviations, each standardized; the centers come from k-means over the training images (Lloyd 1982, by
    scikit-learn) and do not change afterwards.

    Args:
        domains: K, the number of domains.
    """

    centers: Tensor
    feature_mean: Tensor
    feature_std: Tensor
    means: Tensor
    stds: Tensor

    def __init__(self, *, domains: PositiveInt = 2) -> None:
        super().__init__()
        self.domains = domains
        for name in ("centers", "feature_mean", "feature_std", "means", "stds"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.float64))

    def summarize(self, inputs: Tensor) -> list[Sums]:  # noqa: D102
        return [Sums.of(inputs, range(2, inputs.ndim))]

    def finish(self, summary: list[Sums], shape: torch.Size) -> None:  # noqa: D102
        from sklearn.cluster import KMeans  # only this scheme needs it, and it is slow to import

        sums = Sums.cat(summary)
        if len(sums.first) < self.domains:
            raise DataError(f"norm.domains={self.domains}, but there are only {len(sums.first)} training images")
        # Sorted by value: k-means starts from random rows, and the result must not depend on the order of the images.
        order = np.lexsort(torch.cat([sums.start + sums.first, sums.second], 1).flatten(1).T.cpu().numpy())
        sums = sums[torch.from_numpy(order)]  # [N, C, 1, ...]
        features = torch.cat(sums.mean_and_std(*self.ends), 1).flatten(1)  # [N, 2C]
        self.feature_mean, self.feature_std = features.mean(0), features.std(0, correction=0)
        self.feature_std[self.feature_std == 0] = 1
        standardized = (features - self.feature_mean) / self.feature_std
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about fewer distinct images than domains; empty domains are dropped below
            clusters = KMeans(self.domains, n_init=10, random_state=0).fit(standardized.numpy())
        self.centers = torch.from_numpy(clusters.cluster_centers_).to(torch.float64)
        member = torch.cdist(standardized, self.centers).argmin(1)
        statistics = [
            sums[member == k].pooled(0).mean_and_std(*self.ends) for k in range(self.domains) if (member == k).any()
        ]
        # Where images repeat, k-means may leave domains empty: these are dropped.
        kept = [k for k in range(self.domains) if (member == k).any()]
        self.centers = self.centers[kept]
        self.means = torch.cat([mean for mean, _ in statistics]).flatten(1)  # [K, C], units of u
        stds = torch.cat([std for _, std in statistics]).flatten(1)
        self.stds = torch.where(stds == 0, 1.0, stds)

    def detect(self, inputs: Tensor) -> Tensor:
        """Domain of each sample, int64 [B]."""
        sums = Sums.of(inputs, range(2, inputs.ndim))
        features = torch.cat(sums.mean_and_std(self.black, self.span), 1).flatten(1)
        if features.shape[1] != len(self.feature_mean):
            raise DataError(f"fitted on {len(self.feature_mean) // 2} channels, given inputs {list(inputs.shape[1:])}")
        return torch.cdist((features - self.feature_mean) / self.feature_std, self.centers).argmin(1)

    def normalize(self, inputs: Tensor) -> Tensor:
        """[B, C, *positions] to floats of the same shape."""
        domain = self.detect(inputs)
        scale = 1 / (self.span * self.stds[domain])  # [B, C]
        shift = -(self.means[domain] + self.black / self.span) / self.stds[domain]
        dtype = self.working_type(inputs)
        scale, shift = (along_channels(value.to(dtype), inputs) for value in (scale, shift))
        return (inputs.to(dtype) * scale).add_(shift)
