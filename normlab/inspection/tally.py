"""Integer statistics of a few image files, for a process that reads one part of many files.

Every statistic follows from the histogram of each image and channel, which is exact. PyTorch is not imported here:
importing it would take each process longer than reading thousands of files.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from normlab.pictures import CorruptImageError, picture_of, resize_and_crop

POWERS = np.stack([np.arange(256), np.arange(256) ** 2], axis=1)  # of a pixel, to sum over its histogram


@dataclass(frozen=True)
class Tally:
    """Sums and counts of N images; a grayscale image counts as three equal channels.

    Attributes:
        pixels: of each image, int64 [N].
        total, squares: sums of x and of x^2 over them, int64 [N, 3].
        histogram: of the pixels of all images, int64 [3, 256].
        grayscale: number of images whose channels are equal.
        one_channel: number of these that are stored as one channel.
        converted: number of converted images, by the way of conversion.
        sizes: width and height of the images, and how many there are of each.
        small: small copies of chosen images, uint8 [M, 3, S, S].
        unreadable: for each file that cannot be read, the reason.
    """

    pixels: NDArray[np.int64]
    total: NDArray[np.int64]
    squares: NDArray[np.int64]
    histogram: NDArray[np.int64]
    grayscale: int
    one_channel: int
    converted: Counter[str]
    sizes: Counter[tuple[int, int]]
    small: NDArray[np.uint8]
    unreadable: tuple[str, ...] = ()


def tally_files(files: Sequence[tuple[Path, bool]], size: int, image_size: int | None) -> Tally:
    """The tally of image files, each decoded once.

    Args:
        files: paths, each with whether to keep a small copy of the image.
        size: of the copies, in pixels.
        image_size: in pixels, to which the images are resized and cut first, as in a run; None: as they are stored.
    """
    unreadable: list[str] = []

    def pictures() -> Iterator[tuple[Image.Image, str, bool]]:
        for path, kept in files:
            try:
                picture, converted = picture_of(path)
            except CorruptImageError as error:
                unreadable.append(str(error))
                continue
            yield (picture if image_size is None else resize_and_crop(picture, image_size)), converted, kept

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL warns of odd metadata
        return tally(pictures(), size, unreadable)


def tally(pictures: Iterable[tuple[Image.Image, str, bool]], size: int, unreadable: Sequence[str] = ()) -> Tally:
    """The tally of decoded pictures.

    Args:
        pictures: grayscale or RGB, each with the way of conversion ("" for none) and whether to keep a small copy.
        size: of the copies, in pixels.
        unreadable: reasons for files that cannot be read; taken after the last picture.
    """
    histograms: list[list[int]] = []
    small: list[NDArray[np.uint8]] = []
    converted: Counter[str] = Counter()
    sizes: list[tuple[int, int]] = []
    grayscale = one_channel = 0
    for picture, how, kept in pictures:
        histogram = picture.histogram()
        if len(histogram) == 256:
            one_channel += 1
            grayscale += 1
            histogram *= 3
        # Channels with different histograms differ: compare pixels only if the histograms are equal.
        elif histogram[:256] == histogram[256:512] == histogram[512:]:
            red, green, blue = (channel.tobytes() for channel in picture.split())
            grayscale += red == green == blue
        histograms.append(histogram)
        sizes.append(picture.size)
        if how:
            converted[how] += 1
        if kept:
            copy = np.asarray(resize_and_crop(picture, size))
            small.append(np.broadcast_to(copy, (3, size, size)) if copy.ndim == 2 else copy.transpose(2, 0, 1))
    counts = np.array(histograms, dtype=np.int64).reshape(-1, 3, 256)
    sums = counts @ POWERS
    return Tally(
        np.array(sizes, dtype=np.int64).reshape(-1, 2).prod(1),
        sums[..., 0],
        sums[..., 1],
        counts.sum(0),
        grayscale,
        one_channel,
        converted,
        Counter(sizes),
        np.stack(small) if small else np.empty((0, 3, size, size), dtype=np.uint8),
        tuple(unreadable),
    )
