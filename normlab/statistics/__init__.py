"""Statistics for a few paired seeds: intervals, tests, times to a target."""

from normlab.statistics.crossed import crossed_interval, crossed_test
from normlab.statistics.intervals import Interval, bootstrap_interval, mean_interval, paired_difference, share_interval
from normlab.statistics.level import ALPHA, FEWEST_PAIRS, POWER
from normlab.statistics.paired import (
    equivalence_test,
    holm,
    non_inferiority_test,
    outside_test,
    superiority_test,
    t_test,
)
from normlab.statistics.power import pairs_needed, power
from normlab.statistics.survival import TimeToTarget, restricted_difference, time_to_target

__all__ = [
    "ALPHA",
    "FEWEST_PAIRS",
    "POWER",
    "Interval",
    "TimeToTarget",
    "bootstrap_interval",
    "crossed_interval",
    "crossed_test",
    "equivalence_test",
    "holm",
    "mean_interval",
    "non_inferiority_test",
    "outside_test",
    "paired_difference",
    "pairs_needed",
    "power",
    "restricted_difference",
    "share_interval",
    "superiority_test",
    "t_test",
    "time_to_target",
]
