"""Where the images that are looked at come from: a folder of any files, or a data source as a run sees it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from normlab.config import Data
from normlab.data import Files
from normlab.data.folder import images_below, unreadable_folder
from normlab.data.images import resize
from normlab.data.splits import split
from normlab.errors import DataError
from normlab.inspection.images import Inspection, inspect_files, inspect_images
from normlab.pictures import SUFFIXES


def files_below(folder: Path, errors: list[OSError] | None = None) -> list[Path]:
    """Every image below a folder, in the order of their names.

    Args:
        folder: to look into.
        errors: takes one for each sub-folder that cannot be looked into.

    Raises:
        DataError: if there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    errors = [] if errors is None else errors
    found = images_below(folder, errors.append)
    if not found:
        raise DataError(
            unreadable_folder(errors[0]) if errors else f"{folder}: no images in it ({', '.join(sorted(SUFFIXES))})"
        )
    return found


def drawn(count: int, limit: int | None) -> Tensor:
    """Positions of ``limit`` of ``count`` images at random, or of all of them: int64 [N], rising."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return order[:limit].sort().values


def files_inspected(
    paths: Sequence[Path], limit: int | None = None, small: int = 4000, image_size: int | None = None
) -> Inspection:
    """Look at the files, at most ``limit`` of them, with a progress bar in a terminal."""
    from tqdm import tqdm

    chosen = [paths[place] for place in drawn(len(paths), limit).tolist()]
    with tqdm(total=len(chosen), desc="images", unit="", disable=not sys.stderr.isatty(), leave=False) as bar:
        return inspect_files(chosen, small, image_size=image_size, progress=bar.update)


def folder_inspected(folder: Path, limit: int | None = None, small: int = 4000) -> tuple[Inspection, int]:
    """Look at every image below a folder, or at most ``limit`` of them at random.

    Args:
        folder: to look into.
        limit: images, drawn at random; None: all.
        small: of them are kept as small copies, at most.

    Returns:
        What was found, and how many images there are below the folder.

    Raises:
        DataError: if there is no such folder, no image in it, or none can be read.
    """
    errors: list[OSError] = []
    paths = files_below(folder.expanduser(), errors)
    found = files_inspected(paths, limit, small)
    return replace(found, unreadable=(*map(unreadable_folder, errors), *found.unreadable)), len(paths)


def data_inspected(config: Data, limit: int | None = None, small: int = 4000) -> tuple[Inspection, int]:
    """Look at what a run would train on.

    Args:
        config: the data source.
        limit: as ``config.limit``, which takes its place if it is given.
        small: of the images are kept as small copies, at most.

    Returns:
        What was found, and how many training images there are without a limit.

    Raises:
        DataError: if there are no images, or none can be read.
    """
    source, limit = config.build(), config.limit or limit
    whole, train = (
        split(source, config.validation, config.test, most, config.split_seed)["train"] for most in (None, limit)
    )
    if isinstance(train.pictures, Files):  # read here, so that it does not matter whether they fit in memory
        return files_inspected(train.pictures.paths, small=small, image_size=config.image_size), len(whole)
    images = train.pictures if config.image_size is None else resize(train.pictures, config.image_size)
    return inspect_images(images, small), len(whole)
