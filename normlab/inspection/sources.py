"""The images to inspect: a folder of any files, or a data source as in a run."""

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
from normlab.data.tokens import Texts
from normlab.errors import DataError
from normlab.inspection.images import Inspection, inspect_files, inspect_images
from normlab.pictures import SUFFIXES


def files_below(folder: Path, errors: list[OSError] | None = None) -> list[Path]:
    """Every image below a folder, in the order of their names.

    Args:
        folder: any number of levels deep.
        errors: receives the error for each sub-folder that cannot be read.

    Raises:
        DataError: if there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    errors = [] if errors is None else errors
    paths = images_below(folder, errors.append)
    if not paths:
        raise DataError(
            unreadable_folder(errors[0]) if errors else f"{folder}: no images in it ({', '.join(sorted(SUFFIXES))})"
        )
    return paths


def draw_positions(count: int, limit: int | None) -> Tensor:
    """Positions of ``limit`` random images among ``count``, or all positions: int64 [N], rising."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return order[:limit].sort().values


def inspect_with_progress(
    paths: Sequence[Path], limit: int | None = None, small: int = 4000, image_size: int | None = None
) -> Inspection:
    """Inspect the files, at most ``limit`` of them, with a progress bar in a terminal."""
    from tqdm import tqdm

    chosen = [paths[place] for place in draw_positions(len(paths), limit).tolist()]
    with tqdm(total=len(chosen), desc="images", unit="", disable=not sys.stderr.isatty(), leave=False) as bar:
        return inspect_files(chosen, small, image_size=image_size, progress=bar.update)


def inspect_folder(folder: Path, limit: int | None = None, small: int = 4000) -> tuple[Inspection, int]:
    """Inspect every image below a folder, or at most ``limit`` of them at random.

    Args:
        folder: any number of levels deep.
        limit: largest number of images, drawn at random; None: all.
        small: largest number of images that are kept as small copies.

    Returns:
        The statistics, and the number of images below the folder.

    Raises:
        DataError: if there is no such folder, no image in it, or none can be read.
    """
    errors: list[OSError] = []
    paths = files_below(folder.expanduser(), errors)
    inspection = inspect_with_progress(paths, limit, small)
    return replace(inspection, unreadable=(*map(unreadable_folder, errors), *inspection.unreadable)), len(paths)


def inspect_source(config: Data, limit: int | None = None, small: int = 4000) -> tuple[Inspection, int]:
    """Inspect the training images of a run.

    Args:
        config: the data source.
        limit: largest number of images; ``config.limit`` comes first if it is given.
        small: largest number of images that are kept as small copies.

    Returns:
        The statistics, and the number of training images without a limit.

    Raises:
        DataError: if there are no images, or none can be read.
    """
    source, limit = config.build(), config.limit or limit
    whole, train = (
        split(source, config.validation, config.test, most, config.split_seed, config.test_seed)["train"]
        for most in (None, limit)
    )
    if isinstance(train.pictures, Files):  # read one by one, because they may not fit into memory
        return inspect_with_progress(train.pictures.paths, small=small, image_size=config.image_size), len(whole)
    if isinstance(train.pictures, Texts):
        raise DataError(f"data={config.name}: holds texts, not images")
    images = train.pictures if config.image_size is None else resize(train.pictures, config.image_size)
    return inspect_images(images, small), len(whole)
