"""Reading recordings: WAV by SciPy; FLAC, Ogg and others by soundfile; and what a folder of them holds."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from normlab.data.digests import MISSING, digest_files
from normlab.data.layout import doubts, printable, walk
from normlab.errors import DataError, first_line

WAV = frozenset({".wav", ".wave"})
OTHERS = frozenset({".flac", ".ogg", ".oga", ".mp3", ".aif", ".aiff", ".au"})
SUFFIXES = WAV | OTHERS
# In the header of a WAV that was written into a pipe, whose length nobody knew: of ffmpeg, of SoX, of others.
NO_SIZE = frozenset({0, 0x7FFFF000, 0x7FFFF024, 0x7FFFFFFF, 0xFFFFFFFF})
# What SciPy says of mu-law, A-law and ADPCM, of other bits, and of files that are no WAV but have its ending.
OF_ANOTHER_KIND = re.compile("Unknown wave file format|Unsupported bit depth|not understood")


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
            if SciPy cannot read it and the package soundfile is missing.
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
        size = _promised_size(path)
        source: Path | BytesIO = with_sizes(path.read_bytes()) if size in NO_SIZE else path
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks beside the samples
            warnings.filterwarnings("error", message="Reached EOF prematurely", category=wavfile.WavFileWarning)
            rate, samples = wavfile.read(source)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except wavfile.WavFileWarning:
        raise DataError(f"{path}: {CUT_OFF}") from None
    except Exception as error:  # SciPy raises several kinds for what is no WAV, or a truncated one
        reason = first_line(error)
        if not OF_ANOTHER_KIND.search(reason):
            raise DataError(f"{path}: cannot be read as a WAV file ({reason})") from None
        if (
            source is path and size is not None and size > path.stat().st_size
        ):  # soundfile would read what is there, and say nothing
            raise DataError(f"{path}: {CUT_OFF}") from None
        return _read_odd_wav(path, source, reason)
    if samples.dtype.kind == "f":
        return samples, rate, f"float of {8 * samples.itemsize} bits"
    if samples.dtype == np.uint8:
        return (samples.astype(np.float64) - 128) / 128, rate, "8 bits"
    bits = 8 * samples.itemsize
    kind = {16: "16 bits", 32: "24 or 32 bits"}.get(bits, "more than 32 bits")  # fewer bits come in the upper part
    return samples / float(2 ** (bits - 1)), rate, kind


CUT_OFF = "ends before the last sample that its header promises; copy the file again"


def _promised_size(path: Path) -> int | None:
    """The size of the file by its header, in bytes, or a number of NO_SIZE; None if it is no WAV of 32 bits."""
    with path.open("rb") as file:
        head = file.read(8)
    if len(head) < 8 or head[:4] not in (b"RIFF", b"RIFX"):
        return None
    size = int.from_bytes(head[4:], _order(head))
    return size if size in NO_SIZE else size + 8


def with_sizes(content: bytes) -> BytesIO:
    """A WAV whose header does not know how long it is, with the sizes that follow from the length of the file.

    The last frame is left out if it is not complete.
    """
    whole, order = bytearray(content), _order(content)
    place, frame = 12, 1
    while place + 8 <= len(whole):
        size = int.from_bytes(whole[place + 4 : place + 8], order)
        if whole[place : place + 4] == b"fmt ":
            frame = max(1, int.from_bytes(whole[place + 20 : place + 22], order))
        if whole[place : place + 4] == b"data":
            if size in NO_SIZE:
                size = (len(whole) - place - 8) // frame * frame
                whole[place + 4 : place + 8] = size.to_bytes(4, order)
                del whole[place + 8 + size :]
            break
        place += 8 + size + size % 2
    whole[4:8] = (len(whole) - 8).to_bytes(4, order)
    return BytesIO(whole)


def _order(head: bytes) -> Literal["little", "big"]:
    return "little" if head[:4] == b"RIFF" else "big"


def _read_odd_wav(path: Path, source: Path | BytesIO, reason: str) -> tuple[NDArray[np.floating], int, str]:
    """A file with the ending of a WAV that SciPy does not read, by soundfile.

    Args:
        path: of the file.
        source: the file, or its content with the sizes that its header lacks.
        reason: why SciPy does not.
    """
    try:
        import soundfile
    except ImportError:
        raise DataError(
            f"{path}: cannot be read as a WAV file ({reason}); the package soundfile reads more: "
            f"pip install 'normlab[audio]'"
        ) from None
    try:
        return _by_soundfile(source)
    except (soundfile.LibsndfileError, RuntimeError):
        raise DataError(f"{path}: cannot be read as a WAV file ({reason}), nor as another recording") from None


def _read_other(path: Path) -> tuple[NDArray[np.floating], int, str]:
    try:
        import soundfile
    except ImportError:
        raise DataError(f"{path}: {path.suffix} needs the package soundfile: pip install 'normlab[audio]'") from None
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        return _by_soundfile(path)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be read as a recording ({first_line(error)})") from None


def _by_soundfile(source: Path | BytesIO) -> tuple[NDArray[np.floating], int, str]:
    import soundfile

    with soundfile.SoundFile(source) as file:
        kind = f"{file.format} {file.subtype}"
        return file.read(dtype="float64", always_2d=True), file.samplerate, kind


def resample(waveform: NDArray[np.float32], rate: int, to: int) -> NDArray[np.float32]:
    """A waveform [T] at another rate, by SciPy's polyphase filter."""
    if rate == to:
        return waveform
    from scipy.signal import resample_poly

    common = math.gcd(rate, to)
    return resample_poly(waveform, to // common, rate // common).astype(np.float32)


def suffix_of(name: str) -> str | None:
    """The ending of a file's name if it is that of a recording, in lower case, else None.

    >>> suffix_of("a.b.WAV"), suffix_of("a.m4a")
    ('.wav', None)
    """
    suffix = Path(name).suffix.lower()
    return suffix if suffix in SUFFIXES else None


def recordings_below(root: Path, on_error: Callable[[OSError], object]) -> list[Path]:
    """Every recording below a folder, in the order of :func:`normlab.data.layout.walk`.

    Args:
        root: the folder.
        on_error: called with the error for each folder that cannot be read.
    """
    return walk(root, on_error, suffix_of=suffix_of).images


def doubts_about(root: Path, paths: Sequence[Path], are_splits: bool) -> list[str]:
    """What speaks against the meaning that a folder of recordings was given: :func:`normlab.data.layout.doubts`."""
    sentences = []
    for sentence in doubts(root, paths, are_splits):
        if sentence.startswith("SPLITS IN NAMES"):  # lists of files are for images
            sentence = sentence.partition("; ")[0] + "; move the files into folders train/ and test/"
        if not sentence.startswith("MASKS"):  # of images: a class of recordings may well be called labels
            sentences.append(sentence)
    return sentences


def copies(splits: Mapping[str, Sequence[Path]]) -> list[str]:
    """A sentence on training files of equal bytes, and for each split on those that are in an earlier one, too.

    Args:
        splits: the files of each; training first.
    """
    sentences: list[str] = []
    known: dict[str, Path] = {}
    for name, paths in splits.items():
        pairs = [pair for pair in zip(digest_files(paths), paths, strict=True) if pair[0] != MISSING]
        first = dict(reversed(pairs))
        if not known and (again := [(path, first[digest]) for digest, path in pairs if first[digest] != path]):
            one, other = (printable(str(path)) for path in again[0])
            sentences.append(
                f"REPEATED: {len(again):,} recordings have the same bytes as another one (such as {one} and {other}); "
                f"if they fall into different splits, results on them say nothing about new recordings"
            )
        if same := [(path, known[digest]) for digest, path in pairs if digest in known]:
            one, other = (printable(str(path)) for path in same[0])
            sentences.append(
                f"DUPLICATES: {len(same):,} of {len(paths):,} {name} recordings are also in another split, with equal "
                f"bytes (such as {one} and {other}): results on them say nothing about new recordings"
            )
        known.update(pairs)
    return sentences
