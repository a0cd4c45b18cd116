"""Batches for training and fitting: one contract for images in memory and images that stream from disk."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from normlab.data.images import Format, read
from normlab.data.splits import Files
from normlab.errors import DataError
from normlab.inputs import select

Batch = tuple[Tensor, Tensor]  # [B, C, *positions] of a type of normlab.inputs; int64 [B], of regression float32


class MemorySplit:
    """Inputs in memory, as one tensor.

    Attributes:
        inputs: [N, C, *positions] of a type of :mod:`normlab.inputs`.
        labels: int64 [N]; of regression float32 [N].
    """

    def __init__(self, inputs: Tensor, labels: Tensor) -> None:
        self.inputs, self.labels = inputs, labels

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> Tensor:
        """The inputs, under the name for images."""
        return self.inputs

    @property
    def shape(self) -> tuple[int, ...]:
        """C and positions of an input; C, H, W of an image."""
        return tuple(self.inputs.shape[1:])

    @property
    def input_type(self) -> torch.dtype:
        """Type of the inputs."""
        return self.inputs.dtype

    def batches(self, size: int, order: Tensor | None = None) -> Iterator[Batch]:
        """Batches of ``size``, in the given order of positions (int64 [M]), or from first to last."""
        if order is None:
            yield from zip(self.inputs.split(size), self.labels.split(size), strict=True)
        else:
            for index in order.to(self.inputs.device).split(size):  # moved once: a GPU waits for none of the batches
                yield select(self.inputs, index), self.labels[index]

    def on(self, device: torch.device) -> MemorySplit:
        """The split in the memory of a device; itself if it is there, or would take more than half of what is free."""
        if self.inputs.device == device:
            return self
        size = self.inputs.nbytes + self.labels.nbytes
        if device.type == "cuda" and size > torch.cuda.mem_get_info(device)[0] / 2:
            return self
        return MemorySplit(self.inputs.to(device), self.labels.to(device))


class StreamedSplit:
    """Images that the workers of a DataLoader decode when they are needed.

    Attributes:
        files: N of them.
        labels: int64 [N].
        format: that all images get.
    """

    def __init__(
        self, files: Files, labels: Tensor, image_size: int, workers: int, memory_bytes: float, format: Format
    ) -> None:
        self.files, self.labels, self.format = files, labels, format
        self.image_size, self.workers, self.memory_bytes = image_size, workers, memory_bytes

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """C, H, W of an image."""
        return self.format.bands, self.image_size, self.image_size

    @property
    def input_type(self) -> torch.dtype:
        """Type of the images."""
        return getattr(torch, self.format.input_type)

    @property
    def images(self) -> Tensor:
        """The inputs, under the name for images; see :attr:`inputs`."""
        return self.inputs

    @property
    def inputs(self) -> Tensor:
        """All images, [N, C, H, W].

        Raises:
            DataError: if the images do not fit into data.memory_gb; use :meth:`batches` instead.
        """
        size = len(self) * self.format.bytes_per_pixel * self.image_size**2
        if size > self.memory_bytes:
            raise DataError(f"{size / 2**30:.1f} GiB of images stream from disk: use .batches(size), not .images")
        return torch.cat([images for images, _ in self.batches(256)])

    def batches(self, size: int, order: Tensor | None = None) -> Iterator[Batch]:
        """Batches of ``size``, in the given order of positions (int64 [M]), or from first to last.

        Raises:
            DataError: naming a file that cannot be read.
        """
        order = torch.arange(len(self)) if order is None else order
        loader = DataLoader(
            _Decoder(self.files, self.image_size, self.format),
            batch_sampler=[index.tolist() for index in order.split(size)],
            num_workers=self.workers,
            collate_fn=_stack,
            generator=torch.Generator(),  # its own, so that reading does not change what the network draws
            pin_memory=torch.cuda.is_available(),
        )
        for index, images in zip(order.split(size), loader, strict=True):
            if isinstance(images, DataError):
                raise images
            yield images, self.labels[index]


class _Decoder(Dataset[Tensor | DataError]):
    def __init__(self, files: Files, image_size: int, format: Format) -> None:
        self.files, self.image_size, self.format = files, image_size, format

    def __getitem__(self, position: int) -> Tensor | DataError:
        page = self.files.pages[position] if self.files.pages else 0
        try:
            return read(self.files.paths[position], self.image_size, self.format, self.files.reading, page)[0]
        except DataError as error:
            return error  # not raised, because a worker would wrap the error into a traceback


def _stack(images: Sequence[Tensor | DataError]) -> Tensor | DataError:
    error = next((image for image in images if isinstance(image, DataError)), None)
    return error or torch.stack([image for image in images if isinstance(image, Tensor)])


Split = MemorySplit | StreamedSplit


class Loader:
    """The batches of one split, epoch after epoch, in the form that Lightning requires.

    If n processes train together, each takes every n-th image. Training drops the remainder of this division, so that
    all processes make the same number of steps, and a last batch of a single image, which batch normalization cannot
    take. Evaluation sees every image.

    Args:
        split: the images.
        batch_size: images in a batch, of all processes together.
        shuffle_seed: of the shuffling, which differs between epochs; the same seed and :attr:`epoch` give the same
            order. None keeps the order of the split.
        world_size: number of processes.
    """

    def __init__(self, split: Split, batch_size: int, shuffle_seed: int | None = None, world_size: int = 1) -> None:
        self.split, self.shuffle_seed, self.world_size = split, shuffle_seed, world_size
        self.batch_size = max(1, batch_size // world_size)
        self.epoch = 0  # set from outside: a trainer may ask for an iterator more than once in an epoch

    @property
    def images_per_epoch(self) -> int:
        """Images that each process sees in an epoch; in evaluation, the first process."""
        if self.shuffle_seed is None:
            return -(-len(self.split) // self.world_size)
        share = len(self.split) // self.world_size
        return share - 1 if share % self.batch_size == 1 < share else share

    def __len__(self) -> int:
        return -(-self.images_per_epoch // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        if self.shuffle_seed is None:
            order = None if self.world_size == 1 else torch.arange(len(self.split))
        else:
            generator = torch.Generator().manual_seed(self.shuffle_seed * 1_000_003 + self.epoch)
            order = torch.randperm(len(self.split), generator=generator)
        if order is not None:
            rank = torch.distributed.get_rank() if self.world_size > 1 else 0
            order = order[rank :: self.world_size][: self.images_per_epoch]
        return self.split.batches(self.batch_size, order)


class Bundles:
    """The batches of a loader in bundles, for a trainer whose own work at each item would cost more than a batch.

    A bundle is an iterator, whose batches are made when they are taken: one after the other, before the next bundle.

    Args:
        loader: of the batches.
        size: batches in a bundle; the last one of an epoch may have fewer.
    """

    def __init__(self, loader: Loader, size: int) -> None:
        self.loader, self.size = loader, size

    @property
    def epoch(self) -> int:
        """That of the loader."""
        return self.loader.epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self.loader.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.loader) // self.size)

    def __iter__(self) -> Iterator[Iterator[Batch]]:
        batches = iter(self.loader)
        return (itertools.islice(batches, self.size) for _ in range(len(self)))
