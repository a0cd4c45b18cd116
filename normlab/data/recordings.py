"""Reading recordings: WAV by SciPy; FLAC, Ogg and others by soundfile."""

from __future__ import annotations

import math
import os
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from normlab.errors import DataError, first_line

WAV = frozenset({".wav", ".wave"})
OTHERS = frozenset({".flac", ".ogg", ".oga", ".mp3", ".aif", ".aiff", ".au"})
SUFFIXES = WAV | OTHERS


@dataclass(frozen=True)
class Recording:
    """One file.

    Attributes:
        waveform: float32 [channels, T]; full scale of the file is -1 to 1.
        rate: samples in a second.
        kind: as stored, such as "16 bits".
    """

    waveform: NDArray[np.float32]
    rate: int
    kind: str

    @property
    def mono(self) -> NDArray[np.float32]:
        """The mean of the channels, float32 [T]."""
        return self.waveform.mean(0, dtype=np.float32)


def read(path: Path) -> Recording:
    """Read a recording.

    Raises:
        DataError: if the file is missing, no recording, cut off, without samples, or has a NaN or infinity in it; or
            if it is no WAV and the package soundfile is missing.
    """
    values, rate, kind = _read_wav(path) if path.suffix.lower() in WAV else _read_other(path)
    if values.size == 0:
        raise DataError(f"{path}: a recording of no samples; remove the file")
    if not np.isfinite(values).all():
        raise DataError(f"{path}: {int((~np.isfinite(values)).sum()):,} samples are NaN or infinite; repair the file")
    if rate <= 0:
        raise DataError(f"{path}: says that it has {rate} samples in a second")
    waveform = values.astype(np.float32).reshape(len(values), -1).T
    return Recording(np.ascontiguousarray(waveform), rate, kind)


def _read_wav(path: Path) -> tuple[NDArray[np.floating], int, str]:
    """Samples [T] or [T, channels] with full scale -1 to 1, rate, and kind."""
    from scipy.io import wavfile  # here, because only recordings need it

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks beside the samples
            warnings.filterwarnings("error", message="Reached EOF prematurely", category=wavfile.WavFileWarning)
            rate, samples = wavfile.read(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except wavfile.WavFileWarning:
        raise DataError(f"{path}: ends before the last sample that its header promises; copy the file again") from None
    except Exception as error:  # SciPy raises several kinds for what is no WAV, or a truncated one
        raise DataError(f"{path}: cannot be read as a WAV file ({first_line(error)})") from None
    if samples.dtype.kind == "f":
        return samples, rate, f"float of {8 * samples.itemsize} bits"
    if samples.dtype == np.uint8:
        return (samples.astype(np.float64) - 128) / 128, rate, "8 bits"
    bits = 8 * samples.itemsize
    kind = {16: "16 bits", 32: "24 or 32 bits"}.get(bits, "more than 32 bits")  # fewer bits come in the upper part
    return samples / float(2 ** (bits - 1)), rate, kind


def _read_other(path: Path) -> tuple[NDArray[np.floating], int, str]:
    try:
        import soundfile
    except ImportError:
        raise DataError(f"{path}: {path.suffix} needs the package soundfile: pip install 'normlab[audio]'") from None
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        with soundfile.SoundFile(path) as file:
            kind = f"{file.format} {file.subtype}"
            return file.read(dtype="float64", always_2d=True), file.samplerate, kind
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be read as a recording ({first_line(error)})") from None


def resample(waveform: NDArray[np.float32], rate: int, to: int) -> NDArray[np.float32]:
    """A waveform [T] at another rate, by SciPy's polyphase filter."""
    if rate == to:
        return waveform
    from scipy.signal import resample_poly

    common = math.gcd(rate, to)
    return resample_poly(waveform, to // common, rate // common).astype(np.float32)


def recordings_below(
    root: Path, on_error: Callable[[OSError], object], others: Counter[str] | None = None
) -> list[Path]:
    """Every file below a folder with the ending of a recording, in the order of names, hidden ones left out.

    Args:
        root: the folder.
        on_error: called with the error for each folder that cannot be read.
        others: counts the other files by their ending.
    """
    paths: list[Path] = []
    for parent, folders, names in os.walk(root, onerror=on_error):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        for path in (Path(parent, name) for name in sorted(names) if name[0] != "."):
            if path.suffix.lower() in SUFFIXES:
                paths.append(path)
            elif others is not None:
                others[path.suffix.lower() or "without an ending"] += 1
    return paths
