"""Statistics of recordings, and the advice that follows: ``python -m normlab.inspect FOLDER_OF_WAV``."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tabulate import tabulate

from normlab.commandline.arguments import parsed
from normlab.config import PositiveInt, Section
from normlab.data import recordings
from normlab.data.audio import LOUD
from normlab.data.folder import count_beside, split_names
from normlab.data.layout import Walk, find_splits, named, unreadable_folder, walk
from normlab.errors import ConfigError, DataError
from normlab.inputs import draw_positions
from normlab.inspection.report import counted
from normlab.norms.log_mel import Front, LogMel

# github.com/YuanGongND/ast, egs/*/run*.sh (Gong et al. 2021): mean and standard deviation of the filter bank below.
AST = {
    "AudioSet": (-4.2677393, 4.5689974),
    "ESC-50": (-6.6268077, 5.358466),
    "Speech Commands": (-6.845978, 5.5654526),
}
AST_FRONT = Front("kaldi", 16000, mels=128, window_ms=25.0, hop_ms=10.0)
AST_FRAMES = 1024  # 10.24 s, to which AST pads with zeros and crops
FRAME_SECONDS = 0.02  # of a frame that is silent or not
SILENT_DB = -60.0  # dBFS
QUIET_DB = -100.0  # dBFS; shown for what is lower, such as digital silence
EVIDENCE = "docs/audio.md in normlab's repository"


class Options(Section):
    """What the command takes besides a folder."""

    limit: PositiveInt | None = None  # largest number of recordings, drawn at random; None: all
    resamples: PositiveInt = 1000  # of the bootstrap


@dataclass
class Tally:
    """What is kept of each recording: numbers, not samples.

    Attributes:
        rows: of each recording: seconds, level and peak in dBFS, share of samples at full scale, share of silent
            frames, mean of the samples.
        log_mel: of each recording, count, sum and sum of squares of its log-mel values under AST's front end.
        rates, channels, kinds: counts.
        unreadable: for each file that cannot be read, the reason.
        short: number of recordings shorter than a frame.
    """

    rows: list[tuple[float, ...]] = field(default_factory=list)
    log_mel: list[tuple[float, float, float]] = field(default_factory=list)
    rates: Counter[int] = field(default_factory=Counter)
    channels: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    short: int = 0

    def add(self, recording: recordings.Recording, front: LogMel) -> None:
        """Add a recording."""
        self.rates[recording.rate] += 1
        self.channels[len(recording.waveform)] += 1
        self.kinds[recording.kind] += 1
        mono = recording.mono.astype(np.float64)
        every = recording.waveform
        self.rows.append(
            (
                len(mono) / recording.rate,
                decibels(math.sqrt(np.mean(mono**2))),
                decibels(float(np.abs(every).max())),
                float((np.abs(every) >= 1 - 2**-15).mean()),
                _silent_share(mono, recording.rate),
                float(mono.mean()),
            )
        )
        waveform = recordings.resample(recording.mono, recording.rate, AST_FRONT.rate)
        if len(waveform) < front.length:
            self.short += 1
            return
        values = front(torch.from_numpy(waveform)[None, None])[0].double()[:, :AST_FRAMES]
        self.log_mel.append((values.numel(), values.sum().item(), values.square().sum().item()))


def decibels(amplitude: float) -> float:
    """An amplitude in decibels of full scale, or QUIET_DB if that is higher.

    >>> decibels(0.1), decibels(0.0)
    (-20.0, -100.0)
    """
    return max(QUIET_DB, 20 * math.log10(amplitude)) if amplitude > 0 else QUIET_DB


def _silent_share(waveform: NDArray[np.float64], rate: int) -> float:
    """Share of frames whose level is below SILENT_DB; of a recording shorter than a frame, 0 or 1."""
    size = min(len(waveform), max(1, round(rate * FRAME_SECONDS)))
    frames = waveform[: len(waveform) // size * size].reshape(-1, size)
    return float((np.mean(frames**2, 1) < 10 ** (SILENT_DB / 10)).mean())


def inspect(arguments: Sequence[str]) -> tuple[str, dict[str, Any]] | None:
    """The label of a folder of recordings and the report on it, or None if the arguments name no such folder.

    Args:
        arguments: a folder or one recording, the keys of :class:`Options`, and ``data.splits`` as of ``data=audio``.

    Raises:
        NormlabError: if no recording can be read, a folder has images, too, its layout has two meanings, or a key is
            unknown.
    """
    places = [argument for argument in arguments if "=" not in argument or Path(argument).exists()]
    if len(places) != 1:
        return None
    place, errors = Path(places[0]).expanduser(), list[OSError]()
    if place.is_file():
        paths = [place] if place.suffix.lower() in recordings.SUFFIXES else []
    else:
        paths = recordings.recordings_below(place, errors.append)
    if not paths:
        return None
    if place.is_dir() and (images := walk(place).images):
        raise ConfigError(
            f"{place}: holds {len(paths):,} recordings and {len(images):,} images: name a folder that holds one kind"
        )
    pairs = [argument for argument in arguments if argument not in places]
    of_splits = [pair for pair in pairs if pair.lstrip("+").startswith("data.splits=")]
    options, _ = parsed([pair for pair in pairs if pair not in of_splits], Options, groups=())
    splits, notes = {"all": paths}, list[str]()
    if place.is_dir() and not errors:
        splits, notes = _listed(place, of_splits[-1].partition("=")[2] if of_splits else None)
    paths = next(iter(splits.values()))
    drawn = [paths[place] for place in draw_positions(len(paths), options.limit).tolist()]
    tally = Tally(unreadable=[unreadable_folder(error) for error in errors])
    front = AST_FRONT.build()
    assert isinstance(front, LogMel)
    for path in _with_progress(drawn):
        try:
            tally.add(recordings.read(path), front)
        except DataError as error:
            tally.unreadable.append(str(error))
    if not tally.rows:
        raise DataError(f"none of {len(drawn)} recordings can be read; the first: {tally.unreadable[0]}")
    counts = {name: len(part) for name, part in splits.items()} if len(splits) > 1 else {}
    return places[0], report(tally, len(paths), options.resamples, counts, notes)


def _listed(root: Path, split_folders: str | None) -> tuple[dict[str, list[Path]], list[str]]:
    """The recordings by split (one, ``all``, if there are no splits), training first, and notes on the layout."""
    chosen = split_names(split_folders)
    if isinstance(chosen, Path):
        raise DataError(f"data.splits={chosen}: recordings take no lists; expected none or {{train: A, test: B}}")
    folders = find_splits(root, chosen, needs_train=False, suffix_of=recordings.suffix_of)
    skipped = Walk(noun="recording")
    notes = [f"{where}/ is the {split} split" for split, where in named(root, folders)]
    if folders:
        count_beside(root, folders, skipped, recordings.suffix_of)
    found = {}
    for split, path in (folders or {"all": root}).items():
        below = walk(path, suffix_of=recordings.suffix_of)
        skipped.add(below)
        if below.images:
            found[split] = below.images
    if "train" not in found and folders:
        raise DataError(f"{folders['train']}: the training split, but it holds no recordings")
    first = next(iter(found))
    notes += recordings.doubts_about(folders.get("train", root), found[first], bool(folders) or chosen == "none")
    return found, [*notes, *recordings.copies(found), *skipped.notes()]


def _with_progress(paths: list[Path]) -> Iterator[Path]:
    from tqdm import tqdm

    yield from tqdm(paths, desc="recordings", unit="", disable=not sys.stderr.isatty(), leave=False)


COLUMNS = {
    "seconds": "seconds",
    "level_dbfs": "level (RMS), dBFS",
    "peak_dbfs": "peak, dBFS",
    "clipped": "samples at full scale",
    "silent": f"frames below {SILENT_DB:.0f} dBFS",
    "dc_offset": "mean of the samples",
}


def report(
    tally: Tally, total: int, resamples: int, splits: Mapping[str, int] | None = None, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """The report, in JSON types.

    Args:
        tally: of the recordings.
        total: recordings in the folder, of the training split if it has splits, of which the tally may have a sample.
        resamples: of the bootstrap over recordings.
        splits: number of recordings of each, training first; None or empty if there are no splits.
        notes: on the layout of the folder.
    """
    rows = np.array(tally.rows)
    columns = {
        key: {
            "mean": float(values.mean()),
            "std": float(values.std()),
            "smallest": float(values.min()),
            "median": float(np.median(values)),
            "largest": float(values.max()),
        }
        for key, values in zip(COLUMNS, rows.T, strict=True)
    }
    log_mel = _log_mel(tally, resamples)
    return {
        "recordings": len(rows),
        "sample": {"drawn": len(rows) + len(tally.unreadable), "of": total}
        if len(rows) + len(tally.unreadable) < total
        else None,
        "splits": dict(splits or {}),
        "notes": list(notes),
        "total_seconds": float(rows[:, 0].sum()),
        "rates": _counts(tally.rates),
        "channels": _counts(tally.channels),
        "kinds": _counts(tally.kinds),
        "unreadable": tally.unreadable,
        "clipped_recordings": int((rows[:, 3] > 0).sum()),
        "silent_recordings": int((rows[:, 4] == 1).sum()),
        "statistics": columns,
        "front": AST_FRONT.plain(),
        "log_mel": log_mel,
        "advice": advice(columns, tally, log_mel),
        "evidence": EVIDENCE,
        "lines": lines(log_mel) if log_mel else {},
    }


def _counts(counter: Counter[Any]) -> list[list[Any]]:
    return [[value, count] for value, count in counter.most_common()]


def _log_mel(tally: Tally, resamples: int) -> dict[str, Any] | None:
    """Mean and standard deviation of all log-mel values, with and without padding, with 95% intervals over recordings.

    Padding is AST's: zeros up to AST_FRAMES frames, after the logarithm; a zero is the logarithm of 1, so that the
    padding is loud.
    """
    if not tally.log_mel:
        return None
    sums = np.array(tally.log_mel)
    padded = sums.copy()
    padded[:, 0] = AST_FRONT.mels * AST_FRAMES  # zeros add to the count alone
    draws = np.random.default_rng(0).integers(0, len(sums), (resamples, len(sums)))
    result: dict[str, Any] = {}
    for name, own in (("own_length", sums), ("padded", padded)):
        values = _mean_and_std(own.sum(0))
        resampled = np.array([_mean_and_std(own[draw].sum(0)) for draw in draws])
        low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
        known = len(sums) > 1
        result[name] = {
            key: {
                "value": values[place],
                "low": float(low[place]) if known else None,
                "high": float(high[place]) if known else None,
            }
            for place, key in enumerate(("mean", "std"))
        }
    own_mean, own_std = (result["own_length"][key]["value"] for key in ("mean", "std"))
    result["constants"] = [
        {
            "name": name,
            "mean": mean,
            "std": std,
            # What your features would look like under these constants; right ones give 0 and 1.
            "mean_under_them": (own_mean - mean) / std,
            "std_under_them": own_std / std,
        }
        for name, (mean, std) in AST.items()
    ]
    return result


def _mean_and_std(sums: NDArray[np.float64]) -> tuple[float, float]:
    count, total, squares = sums.tolist()
    return total / count, math.sqrt(max(0.0, squares / count - (total / count) ** 2))


def advice(columns: dict[str, dict[str, float]], tally: Tally, log_mel: dict[str, Any] | None) -> list[str]:
    """Sentences of advice."""
    spread = columns["level_dbfs"]["std"]
    sentences = [
        "For a trained network, as it is or to fine-tune, use the front end and the constants that it was trained "
        "with, whatever these numbers are."
    ]
    if len(tally.rows) > 1:
        sentences.append(
            f"The level differs between recordings by {spread:.1f} dB (standard deviation), which is an offset of "
            f"{spread * math.log(10) / 10:.2f} in log-mel. A mean of each recording's own (cmn) removes such "
            f"offsets, where no value lies at the floor; rms and peak remove any gain. Constants and "
            f"training statistics keep them."
        )
    if len(tally.rates) > 1:
        sentences.append("The rates differ: data.rate=HZ chooses the one that all are resampled to.")
    if (most := tally.rates.most_common(1)[0][0]) < AST_FRONT.rate:
        sentences.append(
            f"At {most:,} samples in a second nothing lies above {most / 2:,.0f} Hz: the mel bins above it, in this "
            f"front end of {AST_FRONT.rate:,}, hold next to nothing, and pull mean and deviation away from the "
            f"constants."
        )
    if columns["clipped"]["largest"] > 0:
        count = sum(row[3] > 0 for row in tally.rows)
        sentences.append(
            f"{counted(count, 'recording')} at full scale: clipped, or normalized by peak. No gain undoes clipping."
        )
    if (peak := columns["peak_dbfs"]["largest"]) > decibels(LOUD):
        sentences.append(
            f"The loudest recording reaches {peak:.0f} dB above full scale: if these floats hold the integers of 16 "
            f"bits, divide them by 32768."
        )
    if silent := sum(row[4] == 1 for row in tally.rows):
        sentences.append(
            f"{counted(silent, 'recording')} silent throughout: a deviation of its own would be that of noise."
        )
    if max(abs(columns["dc_offset"][key]) for key in ("smallest", "largest")) > 0.01:
        sentences.append(
            "Some recordings have a mean far from 0: subtract it, because peak and RMS count it as loudness."
        )
    if columns["seconds"]["largest"] > 1.05 * columns["seconds"]["smallest"]:
        sentences.append(
            "The lengths differ: padding with zeros changes every statistic; data.too_short=repeat keeps level and "
            "spectrum."
        )
    if log_mel:
        nearest = log_mel["constants"][0]
        sentences.append(
            f"Under AST's constants for AudioSet these recordings have mean {nearest['mean_under_them']:+.2f} and "
            f"deviation {nearest['std_under_them']:.2f} instead of 0 and 1."
        )
    if tally.short:
        sentences.append(f"{counted(tally.short, 'recording')} shorter than a frame, without log-mel values.")
    return sentences


def lines(log_mel: dict[str, Any]) -> dict[str, str]:
    """Ready to paste, for three libraries and for normlab; the statistics are those of the unpadded frames."""
    mean, std = (float(f"{log_mel['own_length'][key]['value']:.7g}") for key in ("mean", "std"))
    return {
        "transformers": f"ASTFeatureExtractor(mean={mean}, std={std})",
        "ast": f"dataset_mean={mean} dataset_std={std}",
        "torch": f"(fbank - {mean}) / (2 * {std})  # AST divides by twice the deviation",
        "normlab": "python -m normlab +norm=cmvn data=audio data.root=FOLDER arch=cnn",
    }


def text_of(label: str, content: dict[str, Any]) -> str:
    """The report as text for people."""
    count = content["recordings"]
    which = " of the training split" if content["splits"] else ""
    text = [f"{label}: {counted(count, 'recording')}{which}, {content['total_seconds']:,.1f} seconds in all"]
    if content["splits"]:
        text.append("recordings by split: " + ", ".join(f"{n:,} {name}" for name, n in content["splits"].items()))
    text += content["notes"]
    if sample := content["sample"]:
        text.append(f"a sample: {sample['drawn']:,} drawn at random from {sample['of']:,}")
    for key, noun in (("rates", "samples in a second"), ("channels", "channel(s)"), ("kinds", "")):
        text.append(", ".join(f"{n:,} of {value:,} {noun}" if noun else f"{n:,} {value}" for value, n in content[key]))
    if content["unreadable"]:
        text += [f"{len(content['unreadable']):,} unreadable", *(f"  {line}" for line in content["unreadable"][:5])]
    rows = [
        [COLUMNS[key], *(f"{row[part]:.4g}" for part in ("mean", "std", "smallest", "median", "largest"))]
        for key, row in content["statistics"].items()
    ]
    text += [
        "",
        tabulate(rows, ["of each recording", "mean", "std", "smallest", "median", "largest"], disable_numparse=True),
    ]
    if log_mel := content["log_mel"]:
        table = [
            [name, *(_with_interval(log_mel[key][part]) for part in ("mean", "std"))]
            for key, name in (
                ("own_length", "these, as they are"),
                ("padded", "these, padded to 10.24 s as AST does"),
            )
        ]
        table += [[f"AST, {row['name']}", f"{row['mean']:.4f}", f"{row['std']:.4f}"] for row in log_mel["constants"]]
        text += [
            "",
            "log-mel energies of Kaldi's filter bank at 16,000 samples in a second, 128 bins, 25 ms every 10 ms:",
        ]
        text.append(tabulate(table, ["", "mean", "std"], disable_numparse=True))
    text += ["", *content["advice"], f"(evidence: {EVIDENCE})"]
    if content["lines"]:
        text += ["", "The recordings' own statistics, to paste."]
        text += [f"  {library:15}{line}" for library, line in content["lines"].items()]
    return "\n".join(text)


def _with_interval(value: dict[str, float | None]) -> str:
    text = f"{value['value']:.4f}"
    return text if value["low"] is None else f"{text} [{value['low']:.4f}, {value['high']:.4f}]"
