"""How a folder of images is laid out: which sub-folders are splits, which are classes, and what is left out.

Everything that is left out is counted, so that it can be reported.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from unicodedata import normalize

from normlab import display
from normlab.errors import DataError
from normlab.pictures import suffix_of

# Names of the folders of a split, in any case. ``val`` alone, without a test folder, is the test set (as in ImageNet).
SPLIT_NAMES = {
    "train": ("train", "training", "trn"),
    "validation": ("val", "valid", "validation", "dev", "development"),
    "test": ("test", "testing", "tst", "eval", "evaluation", "holdout", "heldout", "hold_out", "held_out"),
}
SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names}
# Of image folders alone: in other sources, trainval may lie beside train.
MORE_NAMES = {
    "train": ("trainval",),
    "validation": ("validate", "validating", "minival"),
    "test": ("tests", "evaluate", "unseen", "hold-out", "held-out", "hold out", "held out"),
}
FOLDER_OF = SPLIT_OF | {name: split for split, names in MORE_NAMES.items() for name in names}
# Words that occur in longer names alone: imagesTr/ and imagesTs/ of nnU-Net.
SPLIT_WORDS = FOLDER_OF | {"tr": "train", "ts": "test"}
# What is written behind a split's name without a space: trainset/, testdata/, Trainingsdaten/.
ENDING = re.compile(r"(s|sets?|datasets?|s?data|s?daten|images?|imgs?|dirs?|folders?|files?|splits?|samples?)$")
FOLD = re.compile(
    r"(k?folds?|cv|splits?|subsets?|partitions?)[ _-]?([0-9]+|[a-z]|one|two|three|four|five)", re.IGNORECASE
)
MOST_LOOKED_INTO = 20  # classes whose sub-folders are listed to see whether they are classes

# Folders that file servers, archives, notebooks and operating systems make; hidden folders begin with a dot.
GENERATED = frozenset(
    {
        "@eadir",
        "__macosx",
        "__pycache__",
        "#recycle",
        "@recently-snapshot",
        "@recycle",
        "@sharebin",
        "#snapshot",
        "@tmp",
        "$recycle.bin",
        "lost+found",
        "system volume information",
    }
)
IMAGE_FOLDERS = frozenset({"image", "images", "img", "imgs", "jpegimages", "pictures"})
# A folder of masks has one of these words in its name: masks/, SegmentationClass/, ground_truth/.
MASK_WORDS = frozenset(
    {"mask", "masks", "label", "labels", "annotation", "annotations", "annot", "annots", "trimap", "trimaps"}
    | {"gt", "gts", "groundtruth", "truth", "seg", "segs", "segmentation", "segmentations"}
)
# A mask beside its image: X_mask.png, X.mask.png, Xmask.png or mask_X.png beside X.png.
_MASK = "masks?|seg|segmentation|gt|groundtruth|labels?|annotations?|annot|matte"
MASK_OF = re.compile(rf"[_ .-]?({_MASK})([_ -]?[0-9]+)?$", re.IGNORECASE)
MASK_BEFORE = re.compile(rf"({_MASK})[_ -]", re.IGNORECASE)
# Endings of masks that may mean something else: X_L of CamVid, X_manual1 of DRIVE. They are told, and count.
PERHAPS_MASK_OF = re.compile(r"_(L|manual[0-9]*)$")
CHANNEL = re.compile(r"_\d{4}$")  # of an image of nnU-Net: X_0000.png, whose labels are X.png


@dataclass
class Walk:
    """What lies below a folder.

    Attributes:
        images: files with the ending of an image, in the order of names.
        by_ending: number of the other files by their ending.
        by_folder: number of the files in hidden and generated folders, by the name of that folder.
        hidden: number of the hidden files by their name.
        masks: number of masks beside images, by their folder, or by the rule of their names.
        links: number of links to folders that count already, by the name of the link.
        outside: number of images that belong to no split or class, by the folder that they lie in.
        noun: what a file is that counts, for :meth:`notes`.
    """

    images: list[Path] = field(default_factory=list)
    by_ending: Counter[str] = field(default_factory=Counter)
    by_folder: Counter[str] = field(default_factory=Counter)
    hidden: Counter[str] = field(default_factory=Counter)
    masks: Counter[str] = field(default_factory=Counter)
    links: Counter[str] = field(default_factory=Counter)
    outside: Counter[str] = field(default_factory=Counter)
    noun: str = "image"

    def notes(self) -> list[str]:
        """A sentence on each kind of files that were left out."""
        sentences = []
        if self.by_ending:
            which = ", ".join(f"{count:,} {ending}" for ending, count in _sorted(self.by_ending))
            more = f", and {len(self.by_ending) - 8} more endings" if len(self.by_ending) > 8 else ""
            sentences.append(
                f"left out {_files(self.by_ending)} without the ending of a{'n' * (self.noun == 'image')} {self.noun} "
                f"({which}{more})"
            )
        if self.by_folder:
            which = ", ".join(f"{count:,} in {printable(name)}" for name, count in _sorted(self.by_folder))
            sentences.append(f"left out {_files(self.by_folder)} in hidden or generated folders ({which})")
        if self.hidden:
            sentences.append(f"left out {_files(self.hidden, 'hidden file')} ({_names(self.hidden)})")
        if self.masks:
            sentences.append(f"left out {_files(self.masks, 'mask')} beside images ({_names(self.masks)})")
        if self.links:
            sentences.append(
                f"left out {_files(self.links, 'link')} to folders that count already, or lie above "
                f"({_names(self.links)})"
            )
        sentences += [
            f"left out {count:,} {self.noun}{'s' * (count != 1)} in {where}: they belong to no split or class"
            for where, count in self.outside.items()
            if count
        ]
        return sentences

    def add(self, other: Walk) -> None:
        """Count what another walk left out, too."""
        for name in ("by_ending", "by_folder", "hidden", "masks", "links"):
            getattr(self, name).update(getattr(other, name))


def _sorted(counts: Counter[str], most: int = 8) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]


def _files(counts: Counter[str], noun: str = "file") -> str:
    return f"{counts.total():,} {noun}{'s' * (counts.total() != 1)}"


def _names(counts: Counter[str], most: int = 4) -> str:
    more = f" and {len(counts) - most} more" if len(counts) > most else ""
    return ", ".join(printable(name) for name, _ in _sorted(counts, most)) + more


def is_left_out(name: str) -> bool:
    """Whether a folder is hidden or generated."""
    return name.startswith(".") or name.casefold() in GENERATED


def walk(
    root: Path,
    on_error: Callable[[OSError], object] | None = None,
    deep: bool = True,
    suffix_of: Callable[[str], str | None] = suffix_of,
) -> Walk:
    """Every image below a folder, and a count of what else lies there.

    Hidden files, hidden and generated folders, and masks beside images are left out. Links to folders are followed. A
    folder that is linked several times counts once. A link to a folder above ``root`` is left out, because it would
    add the images of other classes.

    Args:
        root: the folder.
        on_error: called for each folder that cannot be read, with the error, whose ``filename`` is the folder.
        deep: look into sub-folders; False: count only the files of this folder.
        suffix_of: the ending of a name if the file counts, else None; that of recordings in place of images.
    """
    result = Walk()
    seen = {str(above) for above in Path(os.path.realpath(root)).parents}
    for parent, folders, names in os.walk(root, onerror=on_error, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:
            result.links[os.path.basename(parent)] += 1
            folders.clear()
            continue
        seen.add(real)
        masks = _images_and_masks(folders)[1] if deep else []
        for name in masks:
            if count := len(walk(Path(parent, name)).images):
                result.masks[f"{os.path.basename(parent)}/{name}/"] += count
        for name in filter(is_left_out, folders):
            count = sum(len(files) for _, _, files in os.walk(Path(parent, name)))
            if count:
                result.by_folder[name] += count
        folders[:] = sorted(name for name in folders if not is_left_out(name) and name not in masks) if deep else []
        stems = {_stem(name) for name in names}
        for name in sorted(names):
            suffix = suffix_of(name)
            if name.startswith("."):
                result.hidden[name] += 1
            elif suffix is not None and (rule := _mask_beside(_stem(name), stems)):
                result.masks[f"{rule} beside X"] += 1
            elif suffix is not None:
                result.images.append(Path(parent, name))
            else:
                result.by_ending[printable(Path(name).suffix.lower()) or "without an ending"] += 1
    return result


def _stem(name: str) -> str:
    """A file's name without the ending of an image."""
    suffix = suffix_of(name)
    return name if suffix is None else name[: -len(suffix)]


def _mask_beside(stem: str, stems: Set[str]) -> str | None:
    """How a file is named as the mask of another one in its folder, such as ``X_mask``; None if it is not.

    >>> _mask_beside("0_mask", {"0", "0_mask"}), _mask_beside("mask_0", {"0"}), _mask_beside("0_mask", {"1"})
    ('X_mask', 'mask_X', None)
    """
    if (found := MASK_OF.search(stem)) and found.start() and stem[: found.start()] in stems:
        return f"X{stem[found.start() : found.end(1)]}"
    if (found := MASK_BEFORE.match(stem)) and stem[found.end() :] in stems:
        return f"{found[0]}X"
    return None


def find_splits(
    root: Path,
    names: Mapping[str, str] | str | None = None,
    needs_train: bool = True,
    suffix_of: Callable[[str], str | None] = suffix_of,
) -> dict[str, Path]:
    """The folders of the splits below a folder; empty if all sub-folders are classes.

    Args:
        root: the folder.
        names: the user's names of the folders by split; ``none``: no folder is a split; None: by :data:`SPLIT_NAMES`.
        needs_train: refuse test or validation folders alone; False: they are no splits then.
        suffix_of: see :func:`walk`.

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
    images, masks = _images_and_masks(folders)
    if len(images) > 1:  # imagesTr/ and imagesTs/ are splits, labelsTr/ is none of them
        folders = tuple(name for name in folders if name not in masks)
    chosen = {name: FOLDER_OF[name.strip().casefold()] for name in folders if name.strip().casefold() in FOLDER_OF}
    similar = {name: likely for name in folders if (likely := chosen.get(name) or resembling(name)) is not None}
    choose = _how_to_choose(folders, similar)

    def holds(name: str) -> bool:
        return bool(walk(root / name, suffix_of=suffix_of).images)

    several = "train" in similar.values() and len(set(similar.values())) > 1
    unlike = [name for name in folders if several and name not in similar and holds(name)]
    if not chosen and unlike:
        raise DataError(
            f"{root}: {' and '.join(map(repr, similar))} resemble the names of splits, but {unlike[0]!r} lies beside "
            f"them; {choose}"
        )
    # training_set/ and test_set/ are splits if every folder resembles one, or if they complete train/ and val/.
    if several and (not unlike or ("train" in chosen.values() and len(chosen) > 1)):
        chosen |= {name: split for name, split in similar.items() if split not in chosen.values()}
    if not chosen:
        _refuse_other_splits(root, folders)
        return {}
    for part in SPLIT_NAMES:
        if len(same := [name for name, one in chosen.items() if one == part]) > 1:
            raise DataError(f"{root}: {' and '.join(map(repr, same))} are both names of the {part} split; {choose}")
    others = [name for name in folders if name not in chosen and holds(name)]
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
    in_order = sorted(chosen.items(), key=lambda item: list(SPLIT_NAMES).index(item[1]))
    return {split: _innermost(root / name, split, suffix_of) for name, split in in_order}


def named(root: Path, folders: Mapping[str, Path]) -> list[tuple[str, str]]:
    """The splits that lie in folders of other names, with the path below ``root``, as text."""
    below = {split: printable(str(path.relative_to(root))) for split, path in folders.items()}
    return [(split, where) for split, where in below.items() if split != where]


def _how_to_choose(folders: Sequence[str], similar: Mapping[str, str]) -> str:
    train = _first(similar, "train") or next((name for name in folders if name not in similar), folders[:1])
    test = _first(similar, "test") or _first(similar, "validation")
    names = f"train: {train}" + f", test: {test}" * (test not in (None, train))
    return f"choose with data.splits=none (every folder is a class) or by name, such as data.splits={{{names}}}"


def _innermost(folder: Path, split: str, suffix_of: Callable[[str], str | None]) -> Path:
    """The folder itself, or seg_train/ in seg_train/, as archives are unpacked, if there is nothing else in it."""
    inner = sub_folders(folder)
    while len(inner) == 1 and resembling(inner[0]) == split and not walk(folder, None, False, suffix_of).images:
        folder = folder / inner[0]
        inner = sub_folders(folder)
    return folder


def _refuse_other_splits(root: Path, folders: Sequence[str]) -> None:
    """Refuse folds, and folders that hold splits, as classes."""
    if len(folders) > 1 and all(map(FOLD.fullmatch, folders)):
        raise DataError(
            f"{root}: {', '.join(map(repr, folders[:3]))}{', ...' * (len(folders) > 3)} look like folds of a "
            f"cross-validation, not like classes; {_how_to_choose(folders, {folders[1]: 'test'})}"
        )
    for name in folders[:MOST_LOOKED_INTO]:
        place, names = _below(root / name)
        inner = {one: likely for one in names if (likely := resembling(one)) is not None}
        if "train" in inner.values() and len(set(inner.values())) > 1:
            raise DataError(
                f"{root}: {str(place.relative_to(root))!r} holds splits ({', '.join(map(repr, inner))}), which would "
                f"count as one class: give data.root={place} to use them, or data.splits=none (every folder is a class)"
            )


def _below(folder: Path) -> tuple[Path, tuple[str, ...]]:
    """The sub-folders of a folder, or of the only folder in it, and so on; and the folder that they lie in."""
    names = _inner(folder)
    for _ in range(4):  # a link may lead back
        if len(names) != 1:
            break
        folder = folder / names[0]
        names = _inner(folder)
    return folder, names


def _inner(folder: Path) -> tuple[str, ...]:
    try:
        with os.scandir(folder) as entries:
            return tuple(sorted(entry.name for entry in entries if entry.is_dir() and not is_left_out(entry.name)))
    except OSError:  # the walk will say so
        return ()


def doubts(root: Path, images: Sequence[Path], are_splits: bool) -> list[str]:
    """A sentence on each thing that speaks against the meaning that the layout of a folder was given.

    Args:
        root: of the classes.
        images: all that lie below it.
        are_splits: whether the folder is the training split of several.
    """
    sentences = []
    folders = sub_folders(root)
    inner = {_below(root / name)[1] for name in folders[:MOST_LOOKED_INTO]}
    if not are_splits and len(folders) > 1 and len(inner) == 1 and len(same := inner.pop()) > 1:
        names = f"data.splits={{train: {folders[0]}, test: {folders[1]}}}"
        sentences.append(
            f"SAME SUB-FOLDERS: {folders[0]!r}, {folders[1]!r} are taken as classes, but each holds {same[0]!r}, "
            f"{same[1]!r}; if those are the classes, name the splits, as {names}"
        )
    sentences += [
        f"SPLIT AMONG CLASSES: {name!r} is taken as a class, but it has the name of a split"
        for name in folders
        if len(folders) > 1 and name.casefold() in FOLDER_OF and _inner(root / name)
    ]
    sentences += alike(folders)
    start = len(str(root / "x")) - 1
    parents = Counter(str(path)[start:].rpartition(os.sep)[0] for path in images)
    words: Counter[str] = Counter()
    for path in () if are_splits else images:
        words[_split_in(path.name)] += 1
        if "" in words:
            break
    places: dict[str, Counter[str]] = {}
    for parent, count in parents.items():
        first, *between = parent.split(os.sep)
        places.setdefault(first, Counter())["/".join((first, *between[:1]))] += count
    if "" not in words and words["train"] and len(words) > 1:
        counts = ", ".join(f"{count:,} of {split}" for split, count in words.items() if split)
        sentences.append(
            f"SPLITS IN NAMES: the names of files contain those of splits ({counts}), which are not used; "
            f"data.splits=FILE.csv gives splits"
        )
    sentences += _doubts_of_masks(root, folders, images)
    mixed = [(name, count) for first, by in places.items() if by[first] for name, count in by.items() if name != first]
    if mixed and "" not in places:
        shown = ", ".join(f"{printable(name)}/ {count:,}" for name, count in mixed[:4]) + ", ..." * (len(mixed) > 4)
        sentences.append(f"images in sub-folders of classes, beside other images, count like those ({shown})")
    return sentences


def alike(classes: Iterable[str]) -> list[str]:
    """A sentence on each set of classes whose names are the same but for case, spaces or code points.

    A letter such as é is one code point or two, as the system or program that wrote it chooses.

    >>> alike(["cat", "Cat", "dog"])
    ["ALIKE: 'cat', 'Cat' are classes of their own, and their names differ in case or spaces alone"]
    """
    by_letters: dict[str, list[str]] = {}
    for name in classes:
        by_letters.setdefault("".join(normalize("NFC", name).casefold().split()), []).append(name)
    sentences = []
    for names in by_letters.values():
        is_coded = len({normalize("NFC", name) for name in names}) < len(names)
        shown = ", ".join(map(ascii if is_coded else repr, names))
        what = "the code points of a letter" if is_coded else "case or spaces alone"
        if len(names) > 1:
            sentences.append(f"ALIKE: {shown} are classes of their own, and their names differ in {what}")
    return sentences


def _split_in(name: str) -> str:
    """The split that the name of a file begins with, or else contains as its only one; empty without one.

    >>> _split_in("train_val_1.png"), _split_in("a_test_1.png"), _split_in("a_contest.png")
    ('train', 'test', '')
    """
    words = re.findall("[a-z]+", name.casefold())
    found = [SPLIT_OF[word] for word in words if word in SPLIT_OF]
    is_first = bool(found) and re.match("[a-z]*", name.casefold())[0] in SPLIT_OF  # type: ignore[index]
    return found[0] if is_first or len(set(found)) == 1 else ""


def _doubts_of_masks(root: Path, folders: Sequence[str], images: Sequence[Path]) -> list[str]:
    """A sentence on a folder with the name of masks beside others, and one on files that are named like masks."""
    sentences = []
    start = len(str(root / "x")) - 1
    stems: dict[str, set[str]] = {name: set() for name in folders}  # by the first folder
    beside: dict[str, set[str]] = {}  # by the folder that they lie in
    for path in images:
        parent, stem = str(path)[start:].rpartition(os.sep)[0], _stem(path.name)
        stems.get(parent.partition(os.sep)[0], set()).add(stem)
        beside.setdefault(parent, set()).add(stem)
    masks = [name for name in folders if MASK_WORDS.intersection(_words(name)) and stems[name]]
    pairs = [(one, name) for one in masks for name in folders if not MASK_WORDS.intersection(_words(name))]
    same = [(one, name) for one, name in pairs if stems[one] == stems[name]]
    named_after = [
        (one, name)
        for one, name in pairs
        if {MASK_OF.sub("", stem) for stem in stems[one]}
        in ({MASK_OF.sub("", stem) for stem in stems[name]}, {CHANNEL.sub("", stem) for stem in stems[name]})
    ]
    if same:
        one, name = same[0]
        sentences.append(
            f"MASKS: {one!r} holds files of the same names as {name!r}, and counts; if these are masks of those, "
            f"inspect {printable(str(root / name))} with data.mask={printable(str(root / one))}"
        )
    elif pairs:
        one, name = (named_after or pairs)[0]
        how = f"holds files that are named after those of {name!r}" if named_after else "has a name of masks or labels"
        sentences.append(
            f"MASKS: {one!r} {how}, and counts like the other folders; if these are masks, inspect "
            f"{printable(str(root / name))} alone"
        )
    perhaps = [mask for names in beside.values() for mask in _perhaps_masks(names)]
    if perhaps:
        sentences.append(
            f"MASKS: {len(perhaps):,} file{'s' * (len(perhaps) != 1)} named X{perhaps[0]} beside X count; if these are "
            f"masks, move them to a folder of their own"
        )
    return sentences


def _perhaps_masks(stems: Set[str]) -> list[str]:
    """The endings of files in one folder that may be masks of others there.

    >>> _perhaps_masks({"0", "0_L", "7_training", "7_manual1"}), _perhaps_masks({"0", "0_L", "0_R"})
    (['_L', '_manual1'], [])
    """
    found = {stem: ending for stem in stems if (ending := PERHAPS_MASK_OF.search(stem))}
    others = {whole for stem in stems - found.keys() for whole in (stem, stem.rpartition("_")[0])}
    return sorted(
        ending[0]
        for stem, ending in found.items()
        if (beginning := stem[: ending.start()]) in others and f"{beginning}_R" not in stems  # left and right
    )


def resembling(name: str) -> str | None:
    """The split that a folder's name contains as a word, if it contains exactly one.

    >>> resembling("training_set"), resembling("val2017"), resembling("TestImages"), resembling("trainset")
    ('train', 'validation', 'test', 'train')
    >>> resembling("contest"), resembling("train_test"), resembling("latestdata")
    (None, None, None)
    """
    if (exact := FOLDER_OF.get(name.strip().casefold())) is not None:
        return exact
    found = {split for word in _words(name) if (split := SPLIT_WORDS.get(word) or FOLDER_OF.get(ENDING.sub("", word)))}
    if found == {"train", "validation"}:  # train_val/ beside test/
        return "train"
    return found.pop() if len(found) == 1 else None


def _words(name: str) -> list[str]:
    """The words of a name, in lower case: of train_set, Train Set and TrainSet, train and set."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[^\W\d_]+", apart.casefold())


def _first(chosen: Mapping[str, str], split: str) -> str | None:
    return next((name for name, one in chosen.items() if one == split), None)


def find_masks(root: Path) -> tuple[Path, list[str]] | None:
    """The folder of images beside folders of masks or labels, and the names of those; None for another layout."""
    folders = sub_folders(root)
    images, masks = _images_and_masks(folders)
    others = set(folders) - {*images, *masks}
    if not masks or len(images) > 1 or any(walk(root / name).images for name in others):
        return None
    return root / images[0], masks


def _images_and_masks(folders: Sequence[str]) -> tuple[list[str], list[str]]:
    """The folder of images and the folders of masks or labels beside it; both empty for another layout.

    nnU-Net has a folder of images for each split: imagesTr/ and imagesTs/ beside labelsTr/.

    >>> _images_and_masks(["images", "masks", "notes"]), _images_and_masks(["imagesTr", "imagesTs", "labelsTr"])
    ((['images'], ['masks']), (['imagesTr', 'imagesTs'], ['labelsTr']))
    >>> _images_and_masks(["cat", "masks"])
    ([], [])
    """
    whole = [name for name in folders if name.casefold() in IMAGE_FOLDERS]
    images = whole or [name for name in folders if _is_images_of_split(_words(name))]
    masks = [name for name in folders if name not in images and MASK_WORDS.intersection(_words(name))]
    return (images, masks) if masks and images and len(whole) < 2 else ([], [])


def _is_images_of_split(words: Sequence[str]) -> bool:
    return len(words) == 2 and words[0] in IMAGE_FOLDERS and words[1] in SPLIT_WORDS


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
    r"""A name as text on one line, also where its bytes are not UTF-8.

    >>> printable("caf\udce9"), printable("café"), printable("a\nb")
    ('caf\\xe9', 'café', 'a\\nb')
    """
    return display.printable(os.fsencode(name).decode("utf-8", "backslashreplace"))
