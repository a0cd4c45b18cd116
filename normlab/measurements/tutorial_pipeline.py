"""Channel statistics after each stage of a tutorial's pipeline: claim B08."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from normlab.config import data_label
from normlab.data import dataset
from normlab.measurements.registry import measurement
from normlab.measurements.starts import fitted
from normlab.norms import Normalization
from normlab.statistics.channels import channel_names


@measurement
def pipeline_statistics(*, data: dict[str, Any], norms: Sequence[str]) -> list[dict[str, Any]]:
    """Channel statistics of training and test images after each stage of a pipeline, fitted on the training images.

    Args:
        data: options of a data source, as for :func:`normlab.dataset`.
        norms: the stages; each scheme stands for the pipeline up to its stage.

    Returns:
        A row for each stage, split and channel: ``mean``, ``std`` (ddof 0), ``smallest`` and ``largest``, in float64
        over the float32 values that a network gets.
    """
    loaded = dataset(**data)
    rows = []
    for name in norms:
        scheme = fitted(loaded, name)
        for split in ("train", "test"):
            part = loaded.splits[split]
            values = _statistics(scheme, (images for images, _ in part.batches(64)))
            for channel, row in zip(channel_names(len(values)), values, strict=True):
                about = {
                    "data": data_label(data),
                    "norm": name,
                    "split": split,
                    "images": len(part),
                    "channel": channel,
                }
                rows.append({**about, **row})
    return rows


def _statistics(scheme: Normalization, batches: Iterator[Tensor]) -> list[dict[str, float]]:
    """Mean, standard deviation and extremes of each channel, in one pass."""
    parts = []
    with torch.no_grad():
        for images in batches:
            x = scheme(images).transpose(0, 1).flatten(1)
            low, high = x.aminmax(dim=1)
            x = x.double()
            mean = x.mean(1)
            # Centered in the batch, and put together by the law of total variance: raw squares would cancel.
            parts.append(
                torch.stack([torch.full_like(mean, x.shape[1]), mean, (x - mean[:, None]).square().mean(1), low, high])
            )
    count, mean, variance, low, high = torch.stack(parts, 1)  # [batches, C] each
    share = count / count.sum(0)
    overall = (share * mean).sum(0)
    std = (share * (variance + (mean - overall).square())).sum(0).sqrt()
    columns = {"mean": overall, "std": std, "smallest": low.amin(0), "largest": high.amax(0)}
    return [{name: value[c].item() for name, value in columns.items()} for c in range(len(overall))]
