"""Data: labeled inputs in three splits, whatever they come from."""

from normlab.data.datasets import Dataset, dataset, load, open_source, require_spread
from normlab.data.loader import Batch, Bundles, Loader, MemorySplit, Split, StreamedSplit
from normlab.data.splits import Files, Part, Source

__all__ = [
    "Batch",
    "Bundles",
    "Dataset",
    "Files",
    "Loader",
    "MemorySplit",
    "Part",
    "Source",
    "Split",
    "StreamedSplit",
    "dataset",
    "load",
    "open_source",
    "require_spread",
]
