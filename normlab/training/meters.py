"""What an evaluation measures over a split, batch by batch: loss and accuracy, or loss, R2 and RMSE."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from normlab.inputs import Target


class Accuracy:
    """Loss and accuracy of a classification.

    Attributes:
        sums: what the processes of a training add up: loss, right answers, samples.
        answers: whether each sample was classified correctly, bool [B] for each batch.
    """

    score = "accuracy"

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.sums = torch.zeros(3, dtype=torch.float64, device=device)
        self.answers: list[Tensor] = []

    def add(self, loss: Tensor, scores: Tensor, labels: Tensor) -> None:
        """Add a batch: its mean loss, scores [B, classes], labels int64 [B]."""
        right = scores.argmax(1) == labels
        self.answers.append(right)
        correct = right.sum()
        self.sums += torch.stack([loss.double() * len(labels), correct, torch.full_like(correct, len(labels))])

    def values(self, sums: Tensor) -> dict[str, float]:
        """Loss and accuracy from the sums of all processes."""
        loss, correct, count = sums.tolist()
        # If scores are NaN, argmax gives the first class: the accuracy would mean nothing.
        return {"loss": loss / count, "accuracy": correct / count if math.isfinite(loss) else math.nan}


class Deviation:
    """Loss, R2 and root mean squared error of a regression.

    R2 is 1 minus the squared error over that of the split's own mean, as scikit-learn's ``r2_score``; NaN if all labels
    of the split are equal. RMSE has the unit of the target.

    Attributes:
        sums: loss, standardized labels, their squares, samples.
        answers: always empty, because there are no right answers.
    """

    score = "r2"

    def __init__(self, target: Target, device: torch.device | str = "cpu") -> None:
        self.target = target
        self.sums = torch.zeros(4, dtype=torch.float64, device=device)
        self.answers: list[Tensor] = []

    def add(self, loss: Tensor, scores: Tensor, labels: Tensor) -> None:
        """Add a batch: its mean loss, half the squared error of standardized labels, and labels float32 [B]."""
        y = self.target.standardized(labels.double())
        count = torch.full_like(y.sum(), len(labels))
        self.sums += torch.stack([loss.double() * len(labels), y.sum(), y.square().sum(), count])

    def values(self, sums: Tensor) -> dict[str, float]:
        """Loss, R2 and RMSE from the sums of all processes."""
        loss, total, squares, count = sums.tolist()
        about_mean = squares - total * total / count
        r2 = 1 - 2 * loss / about_mean if about_mean > 0 and math.isfinite(loss) else math.nan
        rmse = self.target.std * math.sqrt(2 * loss / count) if math.isfinite(loss) else math.nan
        return {"loss": loss / count, "r2": r2, "rmse": rmse}


Meter = Accuracy | Deviation
