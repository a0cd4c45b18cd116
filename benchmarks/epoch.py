"""One training epoch on 10,000 CIFAR-10 images: normlab, a bare PyTorch loop, and the usual pipeline.

    python benchmarks/epoch.py                      # CIFAR-10 as folders below NORMLAB_DATA/cifar10, else noise
    python benchmarks/epoch.py --rounds 3

The three are timed in turn in one process, in several rounds, so that a change in the machine's speed affects all
three. `bare` is a loop written by hand on the same in-memory uint8 tensors: index, scale, forward,
backward, step, and the loss read at every step. `usual` is torchvision's per-sample transforms (ToImage, ToDtype,
Normalize) in a DataLoader under Lightning with self.log, with 0 and with 2 workers. Validation is left out everywhere.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from PIL import Image
from provenance import write
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from normlab.archs import Network
from normlab.config import GROUPS, Config, defaults, parse
from normlab.data import Dataset as Images
from normlab.data import MemorySplit, dataset
from normlab.training import train

IMAGES = 10_000
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def load_images() -> tuple[Images, str]:
    if (Path(os.environ.get("NORMLAB_DATA", "")) / "cifar10" / "train").is_dir():
        return dataset("folder", root="cifar10", limit=IMAGES), "CIFAR-10, 10,000 training images"
    return noise(IMAGES, 32), "noise, 10,000 images of 3x32x32"


def noise(count: int, side: int) -> Images:
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)
    split = MemorySplit(images, torch.randint(0, 10, (count,)))
    small = MemorySplit(images[:256], split.labels[:256])
    return Images("noise", split, small, small, tuple(map(str, range(10))), "", "")


def configuration(arch: str, epochs: int, runs: Path, **trainer: Any) -> Config:
    choices = {"data": "digits", "augment": "none", "norm": "imagenet", "arch": arch, "optim": "sgd"}
    values = {
        group: defaults(group, choices.get(group, "default" if group == "trainer" else "none")) for group in GROUPS
    }
    values["trainer"] |= {
        "max_epochs": epochs,
        "eval_every_epochs": epochs + 1,
        "progress": "none",
        "checkpoint": False,
        **trainer,
    }
    # A rate that diverges under no architecture: a diverged run would stop early.
    values["optim"]["lr"] = 1e-6
    values["arch"]["loss"] = "cross_entropy"
    return parse({**values, "runs": runs})


def build(config: Config, data: Images) -> Network:
    torch.manual_seed(0)
    return Network(config.norm.build(), config.arch, data.shape, data.classes)


class EpochClock(pl.Callback):
    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, *_: Any) -> None:
        self.seconds.append(time.perf_counter() - self.started)


def bare(config: Config, data: Images, epochs: int, device: str = "cpu") -> list[float]:
    network = build(config, data).to(device)
    body, channels_last = network.body, network.channels_last
    scale = torch.tensor([1 / (255 * s) for s in STD]).reshape(3, 1, 1).to(device)
    shift = torch.tensor([-m / s for m, s in zip(MEAN, STD, strict=True)]).reshape(3, 1, 1).to(device)
    optimizer = torch.optim.SGD(body.parameters(), config.optim.lr, momentum=0.9)
    images, labels, seconds = data.train.images.to(device), data.train.labels.to(device), list[float]()
    half = config.trainer.precision == "bf16-mixed"
    for _ in range(epochs):
        started, losses = time.perf_counter(), list[Any]()
        for index in torch.randperm(len(images)).to(device).split(config.data.batch_size):
            x = images[index]
            if channels_last:
                x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast(device, torch.bfloat16, enabled=half):
                loss = F.cross_entropy(body(x.float().mul_(scale).add_(shift)), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item() if device == "cpu" else loss.detach())  # a GPU would be waited for
        if device != "cpu":
            torch.stack(losses).tolist()
        seconds.append(time.perf_counter() - started)
    return seconds


def ours(config: Config, data: Images) -> list[float]:
    clock = EpochClock()
    with tempfile.TemporaryDirectory() as folder:
        train(config, data, build(config, data), Path(folder), [clock])
    return clock.seconds


class Pictures(Dataset[tuple[Tensor, int]]):
    """Pictures as PIL images in memory, transformed one at a time: as in torchvision.datasets.CIFAR10."""

    def __init__(self, data: Images) -> None:
        self.arrays = data.train.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = data.train.labels.tolist()
        self.transform = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.arrays[index])), self.labels[index]


class Usual(pl.LightningModule):
    def __init__(self, body: torch.nn.Module, lr: float) -> None:
        super().__init__()
        self.body, self.lr = body, lr

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        images, labels = batch
        loss = F.cross_entropy(self.body(images), labels)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.body.parameters(), self.lr, momentum=0.9)


def usual(config: Config, data: Images, epochs: int, workers: int, accelerator: str = "cpu") -> list[float]:
    loader = DataLoader(
        Pictures(data),
        config.data.batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=accelerator == "gpu",
    )
    clock = EpochClock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            accelerator=accelerator,
            max_epochs=epochs,
            logger=pl.loggers.CSVLogger(folder),
            callbacks=[clock],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Usual(build(config, data).body, config.optim.lr), loader)
    return clock.seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    data, described = load_images()
    rows = []
    for arch, epochs in (("linear", 12), ("cnn", 3)):
        config = configuration(arch, epochs, Path(tempfile.gettempdir()))
        ways = {
            "bare": lambda c=config, e=epochs: bare(c, data, e),
            "normlab": lambda c=config: ours(c, data),
            "usual, 0 workers": lambda c=config: usual(c, data, 2, 0),
            "usual, 2 workers": lambda c=config: usual(c, data, 2, 2),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        ratios: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            medians = {}
            for name, way in ways.items():
                with contextlib.redirect_stdout(io.StringIO()):
                    measured = way()[1:]  # the first epoch warms up
                seconds[name] += measured
                medians[name] = statistics.median(measured)
            for name in ways:
                ratios[name].append(medians[name] / medians["bare"])
        for name in ways:
            rows.append(
                {
                    "architecture": arch,
                    "way": name,
                    "median s": f"{statistics.median(seconds[name]):.3f}",
                    "min s": f"{min(seconds[name]):.3f}",
                    "max s": f"{max(seconds[name]):.3f}",
                    "epochs": len(seconds[name]),
                    "times bare, median of rounds": f"{statistics.median(ratios[name]):.2f}",
                }
            )
            print(rows[-1], flush=True)
    write(
        "epoch", f"python benchmarks/epoch.py --rounds {rounds}", rows, f"{described}, batches of 128, {rounds} rounds"
    )


if __name__ == "__main__":
    main()
