"""Recordings of a folder, as waveforms of one rate and one length, with the speakers as groups."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from normlab.config import PositiveFloat, PositiveInt
from normlab.data import recordings
from normlab.data.folder import SplitNames, count_beside, find, split_names
from normlab.data.layout import Walk, alike, find_splits, named, printable, sub_folders, unreadable_folder, walk
from normlab.data.lengths import TooLong, TooShort, equal_lengths
from normlab.data.splits import Part, Source
from normlab.errors import DataError
from normlab.norms.log_mel import Front, FrontName, Level

LOUD = 2.0  # of full scale: floats above it are no peaks of a loud recording


def audio(
    *,
    root: Path | None = None,
    names: str | None = None,
    rate: PositiveInt | None = None,
    seconds: PositiveFloat | None = None,
    too_short: TooShort = "zeros",
    too_long: TooLong = "crop",
    front: FrontName = "log_mel",
    mels: PositiveInt = 40,
    window_ms: PositiveFloat = 25.0,
    hop_ms: PositiveFloat = 10.0,
    level: Level = "none",
    splits: SplitNames | None = None,
) -> Source:
    """Recordings of a folder: ROOT/LABEL/FILE, or ROOT/train/LABEL/FILE with ROOT/test and ROOT/val.

    Args:
        root: the folder; a relative path is looked up in the working directory, then below NORMLAB_DATA.
        names: how a file's name, without its ending, says label and speaker: ``label_speaker_*`` for
            ``7_jackson_12.wav``. The words label and speaker stand for any text without one of _ - . / and space, *
            for any text; with a slash, as in ``speaker/label_*``, the folders above count too. None: the folder's name
            is the label.
        rate: samples in a second; None: the rate that most recordings have. Others are resampled.
        seconds: length; None: of the longest recording.
        too_short: ``zeros`` at the end, ``repeat`` from the beginning, or ``error``.
        too_long: ``crop`` keeps the beginning, or ``error``.
        front: ``log_mel``, ``kaldi`` or ``none``; see :class:`normlab.norms.log_mel.Front` for this and the next.
        mels: bins of the mel scale.
        window_ms: length of a frame.
        hop_ms: from one frame to the next.
        level: scheme of the waveform: ``peak``, ``rms`` or ``none``.
        splits: names of the folders of splits that are no usual ones, as ``{train: A, test: B}``; ``none`` if every
            sub-folder is a class.

    Raises:
        DataError: if the folder, its classes or its recordings are missing or cannot be read, its layout has two
            meanings, a name does not fit ``names``, or a speaker is in two splits.
    """
    if root is None:
        raise DataError("data=audio needs data.root=FOLDER, with one sub-folder of recordings for each class")
    return from_folder(
        find(root, "data=audio"),
        names,
        rate,
        seconds,
        too_short,
        too_long,
        Front(front, 0, mels, window_ms, hop_ms, level),
        splits,
    )


def spoken_digits(
    *,
    root: Path | None = None,
    rate: PositiveInt = 8000,
    seconds: PositiveFloat = 0.816,
    too_short: TooShort = "repeat",
    too_long: TooLong = "crop",
    front: FrontName = "log_mel",
    mels: PositiveInt = 40,
    window_ms: PositiveFloat = 32.0,
    hop_ms: PositiveFloat = 16.0,
    level: Level = "none",
) -> Source:
    """The free spoken digit data set: recordings ``{digit}_{speaker}_{n}.wav``, no speaker in two splits.

    Jackson et al., "Free spoken digit dataset" (github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0): the
    folder ``recordings`` of it, or NORMLAB_DATA/spoken_digits.

    Args:
        root: the folder; None: spoken_digits/ below NORMLAB_DATA.
        rate: samples in a second; recordings of another rate are resampled.
        seconds: length.
        too_short: ``zeros`` at the end, ``repeat`` from the beginning, or ``error``.
        too_long: ``crop`` keeps the beginning, or ``error``.
        front: ``log_mel``, ``kaldi`` or ``none``; see :class:`normlab.norms.log_mel.Front` for this and the next.
        mels: bins of the mel scale.
        window_ms: length of a frame.
        hop_ms: from one frame to the next.
        level: scheme of the waveform: ``peak``, ``rms`` or ``none``.

    Raises:
        DataError: as :func:`audio`.
    """
    folder = find(root or Path("spoken_digits"), "data=spoken_digits")
    settings = Front(front, 0, mels, window_ms, hop_ms, level)
    return from_folder(folder, "label_speaker_*", rate, seconds, too_short, too_long, settings)


@dataclass(frozen=True)
class Listing:
    """The files of one split, with their labels and speakers; no speakers where the names do not give them."""

    paths: list[Path]
    labels: list[str]
    speakers: list[str]


def from_folder(
    root: Path,
    names: str | None,
    rate: int | None,
    seconds: float | None,
    too_short: TooShort,
    too_long: TooLong,
    front: Front,
    split_folders: dict[str, str] | str | None = None,
) -> Source:
    """Recordings of a folder that exists; see :func:`audio`."""
    splits, left_out = _listings(root, names, split_folders)
    classes = tuple(sorted(set(splits["train"].labels)))
    if len(classes) < 2:
        raise DataError(f"{root}: only one class, {classes[0]!r}; a classifier needs recordings of at least two")
    for name, listing in splits.items():
        if extra := sorted(set(listing.labels) - set(classes)):
            raise DataError(f"{root}: class {extra[0]!r} of the {name} split does not occur among the training files")
    speakers = sorted({speaker for listing in splits.values() for speaker in listing.speakers})
    if len(splits) > 1:
        _refuse_shared_speakers(root, splits)

    paths = [path for listing in splits.values() for path in listing.paths]
    waveforms, rate, notes = _waveforms(paths, rate)
    length = round(seconds * rate) if seconds else max(waveform.shape[1] for waveform in waveforms)
    if length < 1:
        raise DataError(f"data.seconds={seconds:g}: less than one sample at {rate} samples in a second")
    inputs, changed = equal_lengths(waveforms, list(map(str, paths)), length, too_short, too_long, "data.seconds")
    notes += left_out
    notes += recordings.copies({name: listing.paths for name, listing in splits.items()})
    notes += [f"recordings of {length / rate:g} s at {rate:,} samples in a second"]
    notes += [f"recordings {note}" for note in changed]
    notes += front_notes(settings := replace(front, rate=rate))
    parts, start = {}, 0
    for name, listing in splits.items():
        labels = torch.tensor([classes.index(label) for label in listing.labels])
        parts[name] = Part(inputs[start : start + len(labels)], labels)
        start += len(labels)
    groups = None
    if speakers and len(splits) < 3:
        groups = torch.tensor([speakers.index(speaker) for speaker in splits["train"].speakers])
        notes.append(f"{len(set(groups.tolist()))} speakers in the training files; none is split apart")
    return Source(
        classes,
        parts["train"],
        parts.get("validation"),
        parts.get("test"),
        notes=tuple(notes),
        kind="audio",
        groups=groups,
        front=settings,
    )


def front_notes(front: Front) -> list[str]:
    """What a user should know of a front end; builds it, so that settings that do not fit the rate are refused.

    Raises:
        ConfigError: as :meth:`normlab.norms.log_mel.Front.build`.
    """
    empty = getattr(front.build(), "empty", 0)
    return [f"{empty} of {front.mels} mel bins have no frequency in them, and are constant"] * bool(empty)


def _listings(
    root: Path, names: str | None, split_folders: dict[str, str] | str | None
) -> tuple[dict[str, Listing], list[str]]:
    """The recordings of each split, and notes on how the folder was read and what was left out."""
    chosen = split_names(split_folders)
    if isinstance(chosen, Path):
        raise DataError(
            f"data.splits={chosen}: recordings take no lists; give the folders, as {{train: FOLDER, test: FOLDER}}, or "
            f"none if every folder is a class"
        )
    folders = find_splits(root, chosen, suffix_of=recordings.suffix_of)
    skipped = Walk(noun="recording")
    if not folders:
        listing = _listing(root, names, skipped)
        doubts = (
            alike(sorted(set(listing.labels)))
            if names
            else recordings.doubts_about(root, listing.paths, chosen == "none")
        )
        return {"train": listing}, [*doubts, *skipped.notes()]
    count_beside(root, folders, skipped, recordings.suffix_of)
    notes = [f"{where}/ is the {split} split" for split, where in named(root, folders)]
    if "test" not in folders and "validation" in folders:
        folders["test"] = folders.pop("validation")
        notes = [note for note in notes if "validation split" not in note]
        notes.append(f"{printable(folders['test'].name)}/ is the test split, because there is no other folder for it")
    listings = {split: _listing(path, names, skipped) for split, path in folders.items()}
    train = listings["train"]
    doubts = alike(sorted(set(train.labels))) if names else recordings.doubts_about(folders["train"], train.paths, True)
    return listings, [*notes, *doubts, *skipped.notes()]


def _listing(root: Path, names: str | None, skipped: Walk) -> Listing:
    below = walk(root, _refuse, suffix_of=recordings.suffix_of)
    skipped.add(below)
    paths = below.images
    if not paths:
        raise DataError(f"{root}: no recordings in it ({', '.join(sorted(recordings.SUFFIXES))})")
    if names is not None:
        pattern = _pattern(names)
        matches = [_match(pattern, names, path.relative_to(root)) for path in paths]
        labels = [match["label"] for match in matches]
        return Listing(paths, labels, [m["speaker"] for m in matches] if "speaker" in pattern.groupindex else [])
    if loose := [path for path in paths if path.parent == root]:
        raise DataError(
            f"{loose[0]}: a recording outside any sub-folder; expected one sub-folder for each class, or "
            f"data.names=label_speaker_* if the names say the label"
        )
    labels = [path.relative_to(root).parts[0] for path in paths]
    if empty := sorted(set(sub_folders(root)) - set(labels)):
        raise DataError(f"{root / empty[0]}: no recordings in it; move the folder away, or fill it")
    return Listing(paths, labels, [])


def _refuse(error: OSError) -> None:
    raise DataError(unreadable_folder(error))


def _pattern(names: str) -> re.Pattern[str]:
    """The regular expression of ``data.names``.

    >>> _pattern("label_speaker_*").fullmatch("7_jackson_12").groupdict()
    {'label': '7', 'speaker': 'jackson'}
    """
    pieces = re.split(r"(label|speaker|\*)", names)
    if pieces.count("label") != 1 or pieces.count("speaker") > 1:
        raise DataError(
            f"data.names={names}: expected the word label once, speaker once at most, and * for the rest, "
            f"such as label_speaker_*"
        )
    fields = {"label": r"(?P<label>[^/_\-. ]+)", "speaker": r"(?P<speaker>[^/_\-. ]+)", "*": ".*"}
    return re.compile("".join(fields.get(piece, re.escape(piece)) for piece in pieces))


def _match(pattern: re.Pattern[str], names: str, path: Path) -> re.Match[str]:
    text = path.with_suffix("").as_posix() if "/" in names else path.stem
    match = pattern.fullmatch(text)
    if match is None:
        raise DataError(
            f"{path}: its name does not fit data.names={names}; rename it, move it away, or change data.names"
        )
    return match


def _refuse_shared_speakers(root: Path, splits: dict[str, Listing]) -> None:
    seen: dict[str, str] = {}
    for name, listing in splits.items():
        for speaker in sorted(set(listing.speakers)):
            if speaker in seen:
                raise DataError(
                    f"{root}: the speaker {speaker!r} is in both the {seen[speaker]} and the {name} split; move the "
                    f"recordings of each speaker into one of them"
                )
            seen[speaker] = name


def _waveforms(paths: list[Path], rate: int | None) -> tuple[list[Tensor], int, list[str]]:
    """Mono waveforms [1, T] of one rate, the rate, and notes on what was changed."""
    read = [recordings.read(path) for path in paths]
    rates = Counter(recording.rate for recording in read)
    rate = rate or rates.most_common(1)[0][0]
    notes = []
    for other, count in sorted(rates.items()):
        if other != rate:
            notes.append(f"{count:,} recordings resampled from {other:,} to {rate:,} samples in a second")
    if several := sum(len(recording.waveform) > 1 for recording in read):
        notes.append(f"{several:,} recordings of several channels, mixed down to one")
    peaks = [float(np.abs(recording.waveform).max()) for recording in read]
    if loud := sum(peak > LOUD for peak in peaks):
        notes.append(
            f"ABOVE FULL SCALE: {loud:,} of {len(read):,} recordings are floats up to {max(peaks):,.1f}, where full "
            f"scale is 1 (such as {printable(str(paths[peaks.index(max(peaks))]))}); if they hold the integers of 16 "
            f"bits, divide them by 32768; data.level=peak or rms makes recordings alike"
        )
    waveforms = [torch.from_numpy(recordings.resample(r.mono, r.rate, rate))[None] for r in read]
    return waveforms, rate, notes
