"""What a handful of paired seeds can say: intervals, tests, times to a target."""

from normlab.statistics.intervals import Interval, bootstrap_interval, mean_interval, paired_difference, share_interval
from normlab.statistics.paired import (
    equivalence_test,
    holm,
    non_inferiority_test,
    superiority_test,
    t_test,
)
from normlab.statistics.survival import TimeToTarget, restricted_difference, time_to_target

__all__ = [
    "Interval",
    "TimeToTarget",
    "bootstrap_interval",
    "equivalence_test",
    "holm",
    "mean_interval",
    "non_inferiority_test",
    "paired_difference",
    "restricted_difference",
    "share_interval",
    "superiority_test",
    "t_test",
    "time_to_target",
]
