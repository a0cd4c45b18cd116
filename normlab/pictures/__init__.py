"""Image files as they are stored: any depth, bands and pages.

Nothing here imports PyTorch, so that processes that read files start fast.
"""

from normlab.pictures.picture import (
    CorruptImageError,
    Picture,
    Reading,
    crop_margin,
    resize_and_crop,
    resized,
    resized_side,
    select_bands,
)
from normlab.pictures.reader import SUFFIXES, count_pages, describe_picture, mask_file, read_picture, suffix_of

__all__ = [
    "SUFFIXES",
    "CorruptImageError",
    "Picture",
    "Reading",
    "count_pages",
    "crop_margin",
    "describe_picture",
    "mask_file",
    "read_picture",
    "resize_and_crop",
    "resized",
    "resized_side",
    "select_bands",
    "suffix_of",
]
