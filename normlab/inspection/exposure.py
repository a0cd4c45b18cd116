"""Whether the images of another split look like the training images."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from normlab.inspection.images import Inspection

# A difference of means is worth a warning if it is real and large: above 4 standard errors of the difference, and above
# a quarter of the training pixels' standard deviation. A ratio of standard deviations of 1.5 changes what a
# normalized pixel means as much as that.
STANDARD_ERRORS = 4
SHARE_OF_STD = 0.25
RATIO = 1.5


def differences(train: Inspection, others: Mapping[str, Inspection]) -> list[str]:
    """A warning for each split of another exposure, contrast, type or number of bands than the training images."""
    sentences = []
    for name, other in others.items():
        if (other.type, other.channels, other.white) != (train.type, train.channels, train.white):
            sentences.append(f"ANOTHER TYPE: the {name} images have {_type(other)}, the training images {_type(train)}")
            continue
        (mean, std), (mean_there, std_there) = train.sums.statistics("pooled"), other.sums.statistics("pooled")
        apart = (mean_there - mean).abs()
        error = (_variance_of_mean(train) + _variance_of_mean(other)).sqrt()
        is_shifted = ((apart > STANDARD_ERRORS * error) & (apart > SHARE_OF_STD * std)).any()
        ratio = (std_there / std).nan_to_num(1.0, posinf=RATIO)
        if is_shifted or (ratio > RATIO).any() or (ratio < 1 / RATIO).any():
            sentences.append(
                f"ANOTHER EXPOSURE: the {name} images have mean {_numbers(mean_there)} and std "
                f"{_numbers(std_there)}, the training images mean {_numbers(mean)} and std {_numbers(std)}: the "
                f"training images' statistics do not center or scale them"
            )
    return sentences


def _type(inspection: Inspection) -> str:
    return (
        f"{inspection.channels} band{'s' * (inspection.channels != 1)} of {inspection.type}, white {inspection.white:g}"
    )


def _variance_of_mean(inspection: Inspection) -> torch.Tensor:
    means, _ = inspection.sums.images
    return means.var(0, correction=1) / len(means) if len(means) > 1 else torch.full_like(means[0], torch.inf)


def _numbers(values: torch.Tensor) -> str:
    return " ".join(f"{value:.3g}" for value in values.tolist())
