"""Training: the LightningModule, the trainer around it, and what both write."""

from normlab.training.checkpoint import load, start_from
from normlab.training.mirror import mirrored
from normlab.training.module import Training
from normlab.training.trainer import Outcome, train

__all__ = ["Outcome", "Training", "load", "mirrored", "start_from", "train"]
