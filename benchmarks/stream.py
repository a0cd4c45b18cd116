"""An epoch of images that are decoded as they are needed: normlab against a DataLoader around the same decoder.

    python benchmarks/stream.py --rounds 5

1,500 JPEG files of 256 pixels (the photographs of the package, made larger) are read at 64 pixels for a linear model,
without and with a worker. The loop is PyTorch's DataLoader, forward, backward and step by hand; the harness decodes by
the same function, under Lightning. Both take turns in one process; files are in the page cache.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from epoch import MEAN, STD, build, configuration, ours
from PIL import Image
from provenance import write
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from normlab.data import Dataset as Images
from normlab.data import StreamedSplit, dataset
from normlab.data.images import Format, read
from normlab.pictures import Reading

FILES, SIDE, EPOCHS = 1_500, 64, 3


class Files(Dataset[tuple[Tensor, int]]):
    def __init__(self, split: StreamedSplit) -> None:
        self.paths, self.labels = split.files.paths, split.labels.tolist()
        self.format: Format = split.format
        self.reading: Reading = split.files.reading

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return read(self.paths[index], SIDE, self.format, self.reading, 0)[0], self.labels[index]


def bare(config: Any, data: Images, workers: int) -> list[float]:
    assert isinstance(data.train, StreamedSplit)
    body = build(config, data).body
    scale = torch.tensor([1 / (255 * s) for s in STD]).reshape(3, 1, 1)
    shift = torch.tensor([-m / s for m, s in zip(MEAN, STD, strict=True)]).reshape(3, 1, 1)
    optimizer = torch.optim.SGD(body.parameters(), config.optim.lr, momentum=0.9)
    loader = DataLoader(Files(data.train), config.data.batch_size, shuffle=True, num_workers=workers)
    seconds = []
    for _ in range(EPOCHS):
        started = time.perf_counter()
        for images, labels in loader:
            loss = F.cross_entropy(body(images.float().mul_(scale).add_(shift)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
        seconds.append(time.perf_counter() - started)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    rows: list[dict[str, str | int]] = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        photos = dataset("photos", limit=FILES)
        for number, (image, label) in enumerate(zip(photos.train.images, photos.train.labels.tolist(), strict=True)):
            (root / str(label)).mkdir(exist_ok=True)
            picture = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((256, 256), Image.Resampling.BICUBIC)
            picture.save(root / str(label) / f"{number}.jpg", quality=90)
        for workers in (0, 1):
            data = dataset("folder", root=root, stream=True, workers=workers, image_size=SIDE)
            config = configuration("linear", EPOCHS, root)
            seconds: dict[str, list[float]] = {"bare DataLoader": [], "normlab": []}
            ratios = []
            for _ in range(rounds):
                for way, measured in (
                    ("bare DataLoader", bare(config, data, workers)),
                    ("normlab", ours(config, data)),
                ):
                    seconds[way].append(statistics.median(measured[1:]))  # the first epoch warms up
                ratios.append(seconds["normlab"][-1] / seconds["bare DataLoader"][-1])
            for way, values in seconds.items():
                share = "1.00" if way == "bare DataLoader" else f"{statistics.median(ratios):.2f}"
                row: dict[str, str | int] = {
                    "workers": workers,
                    "way": way,
                    "median s": f"{statistics.median(values):.2f}",
                }
                row |= {"min s": f"{min(values):.2f}", "max s": f"{max(values):.2f}"}
                row |= {"times bare, median of rounds": share}
                rows.append(row)
                print(row, flush=True)
    conditions = (
        f"{len(data.train):,} JPEG files of 256 pixels read at {SIDE}, linear model, batches of 128, {rounds} rounds "
        "in turn"
    )
    write("stream", f"python benchmarks/stream.py --rounds {rounds}", rows, conditions)


if __name__ == "__main__":
    main()
