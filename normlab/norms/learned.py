"""Schemes whose statistics are trained, or chosen image by image."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from normlab.config import PositiveInt
from normlab.errors import DataError
from normlab.norms.base import Normalization
from normlab.norms.moments import ChannelSums, image_sums, mean_and_std


class Learned(Normalization):
    """(u - mu_c)/sigma_c, with mu and sigma trained along with the network.

    sigma is the exponential of the trained parameter, hence positive.

    Args:
        start: ``unit``, mu 0 and sigma 1; or ``dataset``, the training images' pooled statistics.
    """

    def __init__(self, *, start: Literal["unit", "dataset"] = "unit") -> None:
        super().__init__()
        self.start = start
        self.mu = nn.Parameter(torch.zeros(0))  # [C], units of u
        self.log_sigma = nn.Parameter(torch.zeros(0))  # [C]

    def begin(self, channels: int, height: int, width: int) -> None:  # noqa: D102
        self.sums = ChannelSums(channels, height, width)

    def update(self, images: Tensor) -> None:  # noqa: D102
        if self.start == "dataset":
            self.sums.update(images)

    def finish(self, count: int) -> None:  # noqa: D102
        mean, std = torch.zeros(len(self.sums.total)), torch.ones(len(self.sums.total))
        if self.start == "dataset":
            mean, std = self.sums.statistics("pooled")
            std = torch.where(std == 0, 1.0, std)
        del self.sums
        self.mu.data, self.log_sigma.data = mean.to(self.dtype), std.log().to(self.dtype)

    @property
    def scale(self) -> Tensor:
        """The current factor on x, [C, 1, 1]."""
        return torch.exp(-self.log_sigma).reshape(-1, 1, 1) / 255

    @property
    def shift(self) -> Tensor:
        """The current summand, [C, 1, 1]."""
        return (-self.mu * torch.exp(-self.log_sigma)).reshape(-1, 1, 1)

    def trained(self) -> dict[str, float]:
        """Means mu and standard deviations sigma of the channels, in units of u."""
        columns = {"learned_mean": self.mu, "learned_std": self.log_sigma.exp()}
        return {f"{name}.{c}": value for name, column in columns.items() for c, value in enumerate(column.tolist())}

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 [B, C, H, W] to floats of the same shape."""
        if images.shape[1] != len(self.mu):
            raise DataError(f"fitted on {len(self.mu)} channels, given images {list(images.shape[1:])}")
        return images.to(self.dtype) * self.scale + self.shift


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

    def begin(self, channels: int, height: int, width: int) -> None:  # noqa: D102
        self.pixels = height * width
        self.gathered: list[tuple[Tensor, Tensor]] = []

    def update(self, images: Tensor) -> None:  # noqa: D102
        total, squares = image_sums(images)
        self.gathered.append((total.cpu(), squares.cpu()))

    def finish(self, count: int) -> None:  # noqa: D102
        from sklearn.cluster import KMeans  # only this scheme needs it, and it is slow to import

        if count < self.domains:
            raise DataError(f"norm.domains={self.domains}, but there are only {count} training images")
        total, squares = (torch.cat(column) for column in zip(*self.gathered, strict=True))  # [N, C]
        del self.gathered
        # Sorted by value: k-means starts from random rows, and the result must not depend on the order of the images.
        order = np.lexsort(torch.cat([total, squares], 1).T.numpy())
        total, squares = total[order], squares[order]
        features = torch.cat(mean_and_std(self.pixels, total, squares), 1)  # [N, 2C]
        self.feature_mean, self.feature_std = features.mean(0), features.std(0, correction=0)
        self.feature_std[self.feature_std == 0] = 1
        standardized = (features - self.feature_mean) / self.feature_std
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about fewer distinct images than domains; empty domains are dropped below
            clusters = KMeans(self.domains, n_init=10, random_state=0).fit(standardized.numpy())
        self.centers = torch.from_numpy(clusters.cluster_centers_).to(torch.float64)
        member = torch.cdist(standardized, self.centers).argmin(1)
        statistics = [
            mean_and_std(self.pixels * int((member == k).sum()), total[member == k].sum(0), squares[member == k].sum(0))
            for k in range(self.domains)
            if (member == k).any()
        ]
        # Where images repeat, k-means may leave domains empty: these are dropped.
        kept = [k for k in range(self.domains) if (member == k).any()]
        self.centers = self.centers[kept]
        self.means = torch.stack([mean for mean, _ in statistics])  # [K, C], units of u
        stds = torch.stack([std for _, std in statistics])
        self.stds = torch.where(stds == 0, 1.0, stds)

    def detect(self, images: Tensor) -> Tensor:
        """Domain of each image, int64 [B]."""
        total, squares = image_sums(images)
        features = torch.cat(mean_and_std(images[0, 0].numel(), total, squares), 1)
        if features.shape[1] != len(self.feature_mean):
            raise DataError(f"fitted on {len(self.feature_mean) // 2} channels, given images {list(images.shape[1:])}")
        return torch.cdist((features - self.feature_mean) / self.feature_std, self.centers).argmin(1)

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 [B, C, H, W] to floats of the same shape."""
        domain = self.detect(images)
        scale = 1 / (255 * self.stds[domain])  # [B, C]
        shift = -self.means[domain] / self.stds[domain]
        scale, shift = (value.to(self.dtype)[:, :, None, None] for value in (scale, shift))
        return (images.to(self.dtype) * scale).add_(shift)
