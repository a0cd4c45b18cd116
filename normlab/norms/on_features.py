"""Schemes of recordings: on the waveform, before the front end, or on its features, after it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from torch import Tensor, nn

from normlab.config import Choice, choose
from normlab.errors import ConfigError
from normlab.norms.base import Normalization
from normlab.norms.log_mel import Front
from normlab.norms.masked import Masked

ON_WAVEFORMS = ("peak", "rms")  # schemes that act on the waveform; all others act on the features


class OnFeatures(Normalization):
    """A scheme of the waveform, the front end, then a scheme of the features; one layer, exported with the network.

    A mel bin is a channel of the features, so that ``cmn`` and ``cmvn`` are a sample's own mean and standard deviation
    by channel, as on series, and ``dataset`` has a mean and a standard deviation for each bin.

    Args:
        waveform: [B, 1, T] to the same shape.
        front: [B, 1, T] to [B, mels, frames].
        features: [B, mels, frames] to the same shape.
    """

    def __init__(self, waveform: Normalization, front: nn.Module, features: Normalization) -> None:
        super().__init__()
        self.waveform, self.front, self.features = waveform, front, features

    def fit(self, batches: Iterable[Tensor]) -> Self:
        """Fit the scheme of the features to the features of training waveforms, [B, 1, T] each."""
        self.features.fit(map(self.features_of, batches))
        return self

    def set_range(self, black: float, white: float) -> Self:
        """Set the values of the waveform that stand for u = 0 and u = 1."""
        self.waveform.set_range(black, white)
        return super().set_range(black, white)

    def features_of(self, inputs: Tensor) -> Tensor:
        """Waveforms [B, 1, T] to features that no scheme has changed, float32 [B, mels, frames]."""
        return self.front(self.waveform(inputs)).float()

    @property
    def is_fitted_from_data(self) -> bool:
        """Whether :meth:`fit` reads the waveforms."""
        return self.features.is_fitted_from_data

    @property
    def is_fitted(self) -> bool:
        """Whether the scheme of the features has values."""
        return self.features.is_fitted

    def normalize(self, inputs: Tensor) -> Tensor:
        """[B, 1, T] to [B, mels, frames]."""
        return self.features(self.features_of(inputs))

    def trained(self) -> dict[str, float]:
        """The trained values of the scheme of the features."""
        return self.features.trained()


def build_scheme(choice: Choice, front: Front | None, masked: bool = False) -> Normalization:
    """The scheme of ``norm=``, unfitted, behind the front end that recordings have, or around the pixels that count.

    Args:
        choice: of a scheme.
        front: None for inputs that are no recordings.
        masked: whether ``data.mask`` leaves out pixels.

    Raises:
        ConfigError: if both ``norm`` and ``data.level`` act on the waveform, or the scheme needs whole images.
    """
    scheme = choice.build()
    if masked:
        return Masked(scheme, choice.name)
    if front is None:
        return scheme
    on_waveform = choice.name in ON_WAVEFORMS
    if on_waveform and front.level != "none":
        raise ConfigError(
            f"norm={choice.name} and data.level={front.level} both act on the waveform: choose another norm, which "
            f"acts on the features, or data.level=none"
        )
    if front.name == "none" and front.level == "none":
        return scheme  # waveforms straight into the network
    level = scheme if on_waveform else choose("norm", "raw" if front.level == "none" else front.level).build()
    return OnFeatures(level, front.build(), choose("norm", "raw").build() if on_waveform else scheme)
