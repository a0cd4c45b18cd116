"""How a folder of images is laid out: which sub-folders are splits, which are classes, and what is left out.

Everything that is left out is counted, so that it can be reported.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from normlab.errors import DataError
from normlab.pictures import suffix_of

# Names of the folders of a split, in any case. ``val`` alone, without a test folder, is the test set (as in ImageNet).
SPLIT_NAMES = {
    "train": ("train", "training", "trn"),
    "validation": ("val", "valid", "validation", "dev", "development"),
    "test": ("test", "testing", "tst", "eval", "evaluation", "holdout", "heldout", "hold_out", "held_out"),
}
SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names}

# Folders that file servers, archives, notebooks and operating systems make; hidden folders begin with a dot.
GENERATED = frozenset(
    {
        "@eadir",
        "__macosx",
        "__pycache__",
        "#recycle",
        "@recycle",
        "#snapshot",
        "@tmp",
        "$recycle.bin",
        "lost+found",
        "system volume information",
    }
)
IMAGE_FOLDERS = frozenset({"image", "images", "img", "imgs", "jpegimages", "pictures"})
MASK_FOLDERS = frozenset(
    {
        "mask",
        "masks",
        "label",
        "labels",
        "annotation",
        "annotations",
        "gt",
        "groundtruth",
        "ground_truth",
        "segmentation",
        "segmentations",
        "segmentationclass",
        "segmentationobject",
    }
)


@dataclass
class Walk:
    """What lies below a folder.

    Attributes:
        images: files with the ending of an image, in the order of names.
        by_ending: number of the other files by their ending.
        by_folder: number of the files in hidden and generated folders, by the name of that folder.
        outside: number of images that belong to no split or class, by the folder that they lie in.
    """

    images: list[Path] = field(default_factory=list)
    by_ending: Counter[str] = field(default_factory=Counter)
    by_folder: Counter[str] = field(default_factory=Counter)
    outside: Counter[str] = field(default_factory=Counter)

    def notes(self) -> list[str]:
        """A sentence on each kind of files that were left out."""
        sentences = []
        if self.by_ending:
            which = ", ".join(f"{count:,} {ending}" for ending, count in _sorted(self.by_ending))
            more = f", and {len(self.by_ending) - 8} more endings" if len(self.by_ending) > 8 else ""
            sentences.append(f"left out {_files(self.by_ending)} without the ending of an image ({which}{more})")
        if self.by_folder:
            which = ", ".join(f"{count:,} in {printable(name)}" for name, count in _sorted(self.by_folder))
            sentences.append(f"left out {_files(self.by_folder)} in hidden or generated folders ({which})")
        sentences += [
            f"left out {count:,} image{'s' * (count != 1)} in {where}: they belong to no split or class"
            for where, count in self.outside.items()
            if count
        ]
        return sentences

    def add(self, other: Walk) -> None:
        """Count what another walk left out, too."""
        self.by_ending.update(other.by_ending)
        self.by_folder.update(other.by_folder)


def _sorted(counts: Counter[str], most: int = 8) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]


def _files(counts: Counter[str]) -> str:
    return f"{counts.total():,} file{'s' * (counts.total() != 1)}"


def is_left_out(name: str) -> bool:
    """Whether a folder is hidden or generated."""
    return name.startswith(".") or name.casefold() in GENERATED


def walk(root: Path, on_error: Callable[[OSError], object] | None = None, deep: bool = True) -> Walk:
    """Every image below a folder, and a count of what else lies there.

    Hidden and generated folders are left out. Links to folders are followed. A folder that is linked several times
    counts once. A link to a folder above ``root`` is ignored, because it would add the images of other classes.

    Args:
        root: the folder.
        on_error: called for each folder that cannot be read, with the error, whose ``filename`` is the folder.
        deep: look into sub-folders; False: count only the files of this folder.
    """
    result = Walk()
    seen = {str(above) for above in Path(os.path.realpath(root)).parents}
    for parent, folders, names in os.walk(root, onerror=on_error, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:
            folders.clear()
            continue
        seen.add(real)
        for name in filter(is_left_out, folders):
            count = sum(len(files) for _, _, files in os.walk(Path(parent, name)))
            if count:
                result.by_folder[name] += count
        folders[:] = sorted(name for name in folders if not is_left_out(name)) if deep else []
        for name in sorted(names):
            if name.startswith("."):
                continue
            suffix = suffix_of(name)
            if suffix is not None:
                result.images.append(Path(parent, name))
            else:
                result.by_ending[printable(Path(name).suffix.lower()) or "without an ending"] += 1
    return result


def find_splits(root: Path, names: Mapping[str, str] | str | None = None, needs_train: bool = True) -> dict[str, Path]:
    """The folders of the splits below a folder; empty if all sub-folders are classes.

    Args:
        root: the folder.
        names: the user's names of the folders by split; ``none``: no folder is a split; None: by :data:`SPLIT_NAMES`.
        needs_train: refuse test or validation folders alone; False: they are no splits then.

    Raises:
        DataError: if a folder is missing, or it is not clear whether a folder is a split or a class.
    """
    if names == "none":
        return {}
    if isinstance(names, Mapping):
        for split, name in names.items():
            if not (root / name).is_dir():
                raise DataError(f"data.splits: {split} is to be {name!r}, but {root} has no such folder")
        return {split: root / name for split, name in names.items()}
    folders = sub_folders(root)
    exact = {name: SPLIT_OF[name.casefold()] for name in folders if name.casefold() in SPLIT_OF}
    similar = {name: likely for name in folders if (likely := resembling(name)) is not None}
    # training_set/ and test_set/ are splits if every folder resembles one; otherwise only exact names are.
    is_similar = (
        not exact and len(similar) == len(folders) and "train" in similar.values() and len(set(similar.values())) > 1
    )
    chosen = similar if is_similar else exact
    if not chosen:
        return {}
    choose = (
        f"choose with data.splits=none (every folder is a class) or by name, such as data.splits={{train: "
        f"{_first(chosen, 'train') or folders[0]}}}"
    )
    for part in SPLIT_NAMES:
        if len(same := [name for name, one in chosen.items() if one == part]) > 1:
            raise DataError(f"{root}: {' and '.join(map(repr, same))} are both names of the {part} split; {choose}")
    others = [name for name in folders if name not in chosen and walk(root / name).images]
    if others and (len(chosen) == 1 or "train" not in chosen.values()):
        beside = ", ".join(map(repr, others[:3])) + f" and {len(others) - 3} more" * (len(others) > 3)
        is_name = "is the name of a split" if len(chosen) == 1 else "are names of splits"
        raise DataError(
            f"{root}: {' and '.join(map(repr, chosen))} {is_name}, but {beside} "
            f"{'lies' if len(others) == 1 else 'lie'} beside it and would be left out; {choose}"
        )
    if "train" not in chosen.values():
        if not needs_train:
            return {}
        raise DataError(f"{root}: {' and '.join(map(repr, chosen))} named as a split, but there is no train/; {choose}")
    return {
        split: root / name for name, split in sorted(chosen.items(), key=lambda item: list(SPLIT_NAMES).index(item[1]))
    }


def resembling(name: str) -> str | None:
    """The split that a folder's name contains as a word, if it contains exactly one.

    >>> resembling("training_set"), resembling("val2017"), resembling("contest"), resembling("train_test")
    ('train', 'validation', None, None)
    """
    words = re.split(r"[^a-z]+", name.casefold())
    found = {SPLIT_OF[word] for word in words if word in SPLIT_OF}
    return found.pop() if len(found) == 1 else None


def _first(chosen: Mapping[str, str], split: str) -> str | None:
    return next((name for name, one in chosen.items() if one == split), None)


def find_masks(root: Path) -> tuple[Path, list[str]] | None:
    """The folder of images beside folders of masks or labels, and the names of those; None for another layout."""
    folders = sub_folders(root)
    images = [name for name in folders if name.casefold() in IMAGE_FOLDERS]
    masks = [name for name in folders if name.casefold() in MASK_FOLDERS]
    return (root / images[0], masks) if len(images) == 1 and masks and len(folders) == 1 + len(masks) else None


def sub_folders(root: Path) -> tuple[str, ...]:
    """Names of the sub-folders, sorted, without hidden and generated ones.

    Raises:
        DataError: if the folder cannot be read.
    """
    try:
        return tuple(sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not is_left_out(entry.name)))
    except OSError as error:
        raise DataError(unreadable_folder(error)) from None


def unreadable_folder(error: OSError) -> str:
    """The message about a folder that cannot be read."""
    return f"{printable(str(error.filename))}: a folder that cannot be read ({error.strerror})"


def printable(name: str) -> str:
    r"""A name as text, also where its bytes are not UTF-8.

    >>> printable("caf\udce9"), printable("café")
    ('caf\\xe9', 'café')
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")
