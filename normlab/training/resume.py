"""Going on from the last whole epoch of a run that was killed, with ``trainer.resume=true``."""

from __future__ import annotations

import io
import logging
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from normlab.display import printable
from normlab.errors import first_line, lack
from normlab.files import write_whole

log = logging.getLogger(__name__)

KEY = "resume"
MOST = 0.05  # of the time that training takes, for keeping its state


class Resumption:
    """Keeps the whole state of a training after an epoch, so that another process can go on from it.

    Kept are the network, the optimizer, the schedule, Lightning's counts, the generators of random numbers, and how
    much of the curve was measured. The order of the images and their augmentation follow from the seed and the epoch.

    Args:
        path: of the file in the folder of the run.

    Attributes:
        epoch: number of epochs up to the kept state; 0 if there is none.
        rows: number of measurements up to it.
        seconds: that training took up to the kept state.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.epoch = self.rows = 0
        self.seconds = 0.0
        self._started = time.perf_counter()
        self._next = 0.0  # seconds since the start, before which nothing is kept
        self._random: torch.Tensor | None = None
        if path.is_file():
            try:
                kept = torch.load(path, map_location="cpu", weights_only=True)[KEY]
                self.epoch, self.rows, self.seconds = (kept[name] for name in ("epoch", "rows", "seconds"))
            except Exception as error:  # pickle, zip and torch each raise their own
                log.warning("%s cannot be read (%s): the run starts again", printable(path), first_line(error))
                path.unlink()

    @property
    def exists(self) -> bool:
        """Whether there is a state to go on from."""
        return self.epoch > 0

    def keep(self, trainer: pl.Trainer) -> None:
        """Keep the state after an epoch, unless it was kept a moment ago."""
        before = time.perf_counter() - self._started
        if not trainer.strategy.broadcast(before >= self._next):
            return
        try:
            trainer.save_checkpoint(self.path)
        except OSError as error:
            log.warning("the state of the run is not kept (%s)", lack(error) or first_line(error))
        after = time.perf_counter() - self._started
        self._next = after + (after - before) / MOST

    def state(self, epoch: int, rows: int) -> dict[str, Any]:
        """What is kept besides the state of Lightning."""
        seconds = self.seconds + time.perf_counter() - self._started
        return {"epoch": epoch, "rows": rows, "seconds": seconds, "random": torch.get_rng_state()}

    def load(self, state: dict[str, Any]) -> None:
        """Take over the state of the generator of random numbers, at the start of the next epoch."""
        self._random = state["random"]

    def start_epoch(self) -> None:
        """Go on with the random numbers where the kept state ended."""
        if self._random is not None:
            torch.set_rng_state(self._random)
            self._random = None


class WholeFiles(TorchCheckpointIO):
    """Writes checkpoints whole or not at all, and reads them without running code from them."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint."""
        content = io.BytesIO()  # first, because torch hides the reason if it cannot write to a file
        torch.save(checkpoint, content)
        write_whole(Path(path), content.getbuffer())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint."""
        return torch.load(path, map_location="cpu", weights_only=True)
