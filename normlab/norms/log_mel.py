"""Log-mel spectrograms of waveforms, as a layer: what a network of recordings sees before any normalization.

A gain g of the waveform adds 2 ln g to every value that lies above the floor, and to nothing below it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from normlab.errors import ConfigError, DataError

FrontName = Literal["log_mel", "kaldi", "none"]
Level = Literal["none", "peak", "rms"]


@dataclass(frozen=True)
class Front:
    """The front end of recordings: what is done to a waveform before the scheme of ``norm=``.

    Attributes:
        name: ``log_mel``, equal to librosa's; ``kaldi``, equal to Kaldi's filter bank, which AST and other networks
            use; ``none``, the waveform itself.
        rate: samples in a second.
        mels: bins of the mel scale.
        window_ms: length of a frame, in milliseconds.
        hop_ms: from one frame to the next, in milliseconds.
        level: scheme of the waveform: ``peak``, ``rms``, or ``none``.
    """

    name: FrontName
    rate: int
    mels: int = 40
    window_ms: float = 25.0
    hop_ms: float = 10.0
    level: Level = "none"

    def plain(self) -> dict[str, Any]:
        """The attributes, in JSON types."""
        return asdict(self)

    def build(self) -> nn.Module:
        """The layer that maps [B, 1, T] to [B, mels, frames]; for ``none`` the layer that changes nothing.

        Raises:
            ConfigError: if a frame, a hop or the number of bins does not fit the rate.
        """
        if self.name == "none":
            return nn.Identity()
        return LogMel(self.rate, self.mels, self.window_ms, self.hop_ms, kaldi=self.name == "kaldi")


class LogMel(nn.Module):
    """Waveforms [B, 1, T] to the natural logarithm of mel energies, [B, mels, frames].

    A frame is multiplied by a Hann window and zero-padded to a power of two; its power spectrum is summed under
    triangles, and the logarithm is taken of the sum or of ``floor``, whichever is larger.

    As librosa (``librosa.feature.melspectrogram(power=2)``): frames centered on multiples of the hop, zeros beyond the
    ends, periodic window, Slaney's mel scale and triangles of unit area, floor 1e-10. ``librosa.power_to_db(S,
    top_db=None)`` is 10/ln(10) = 4.343 times this.

    As Kaldi (``compute-fbank-feats`` and ``torchaudio.compliance.kaldi.fbank`` with ``window_type="hanning"`` and
    ``dither=0``): frames that lie inside the recording; of each frame the mean is subtracted and 0.97 times the sample
    before, symmetric window, triangles of unit height on the mel scale 1127 ln(1 + f/700) from 20 Hz on, floor 2^-23.

    Args:
        rate: samples in a second.
        mels: triangles.
        window_ms: length of a frame, in milliseconds.
        hop_ms: from one frame to the next, in milliseconds.
        kaldi: as Kaldi; False: as librosa.

    It computes in float64: in float32 the leakage of a loud tone would drown what lies 70 dB below.

    Attributes:
        empty: number of triangles without a frequency in them, whose value is always the floor's.

    Raises:
        ConfigError: for a frame shorter than two samples or a hop below one.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, rate: int, mels: int, window_ms: float, hop_ms: float, kaldi: bool = False) -> None:
        super().__init__()
        self.length, self.hop = (int(rate * ms / 1000) for ms in (window_ms, hop_ms))
        if self.length < 2 or self.hop < 1:
            raise ConfigError(
                f"data.window_ms={window_ms:g} and data.hop_ms={hop_ms:g}: at {rate} samples in a second a frame has "
                f"{self.length} samples and a hop {self.hop}; a frame needs two samples and a hop one"
            )
        self.size = 2 ** math.ceil(math.log2(self.length))  # of the Fourier transform
        self.kaldi, self.floor = kaldi, 2.0**-23 if kaldi else 1e-10
        window = torch.hann_window(self.length, periodic=not kaldi, dtype=torch.float64)
        filters = (kaldi_filters if kaldi else slaney_filters)(rate, self.size, mels)
        self.empty = int((filters.sum(0) == 0).sum())
        # Not in a checkpoint: these follow from the settings, which a checkpoint has.
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """[B, 1, T] to float32 [B, mels, frames].

        Raises:
            DataError: for recordings of several channels, or shorter than a frame.
        """
        if waveforms.ndim != 3 or waveforms.shape[1] != 1:
            raise DataError(f"a log-mel front end takes waveforms [B, 1, T], not {list(waveforms.shape)}")
        x, window, filters = waveforms[:, 0].double(), self.window.double(), self.filters.double()
        if self.kaldi:
            if x.shape[1] < self.length:
                raise DataError(f"a recording of {x.shape[1]} samples is shorter than a frame of {self.length}")
            frames = x.unfold(1, self.length, self.hop)
            frames = frames - frames.mean(2, keepdim=True)
            before = torch.cat([frames[..., :1], frames[..., :-1]], 2)
            frames = (frames - 0.97 * before) * window
        else:
            left = (self.size - self.length) // 2  # torch.stft and librosa center a short window in the transform
            x = nn.functional.pad(x, (self.size // 2 - left, self.size // 2 - (self.size - self.length - left)))
            frames = x.unfold(1, self.length, self.hop) * window
        spectrum = torch.fft.rfft(frames, n=self.size)
        power = spectrum.real.square() + spectrum.imag.square()  # abs() would take roots
        return (power @ filters).clamp(min=self.floor).log().transpose(1, 2).float()


def slaney_filters(rate: int, size: int, mels: int) -> Tensor:
    """Triangles of unit area on Slaney's mel scale, as librosa's, float64 [size/2 + 1, mels].

    Linear below 1 kHz, logarithmic above (Slaney 1998, "Auditory Toolbox", version 2).
    """
    knee, width, step = 1000.0, 200 / 3, math.log(6.4) / 27  # Hz, Hz a mel, and the logarithm's step a mel
    highest = rate / 2
    top = highest / width if highest < knee else knee / width + math.log(highest / knee) / step
    scale = torch.linspace(0, top, mels + 2, dtype=torch.float64)
    edges = torch.where(scale < knee / width, scale * width, knee * ((scale - knee / width) * step).exp())
    hertz = torch.linspace(0, highest, size // 2 + 1, dtype=torch.float64)
    return _triangles(hertz, edges) * (2 / (edges[2:] - edges[:-2]))


def kaldi_filters(rate: int, size: int, mels: int) -> Tensor:
    """Triangles of unit height on the mel scale 1127 ln(1 + f/700), from 20 Hz on, float64 [size/2 + 1, mels]."""
    lowest, highest = (1127 * math.log1p(hertz / 700) for hertz in (20.0, rate / 2))
    edges = torch.linspace(lowest, highest, mels + 2, dtype=torch.float64)
    hertz = torch.linspace(0, rate / 2, size // 2 + 1, dtype=torch.float64)
    return _triangles(1127 * (hertz / 700).log1p(), edges)


def _triangles(places: Tensor, edges: Tensor) -> Tensor:
    """Triangle k rises from edge k to edge k + 1 and falls to edge k + 2: float64 [places, edges - 2]."""
    rising = (places[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - places[:, None]) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0)
