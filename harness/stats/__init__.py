"""Intervals, paired tests, corrections, ranks: pure functions of numbers.

Why these and not others: docs/decisions/intervals.md and docs/decisions/paired-tests.md.
"""

from melange.harness.stats.intervals import (
    Z95,
    Interval,
    mean_interval,
    ratio_interval,
    score_bounds,
    score_interval,
    share_interval,
    wilson_interval,
)
from melange.harness.stats.log_throughput import (
    FEW,
    QN_SMALLEST,
    QUIET,
    behind_quiet,
    halves_apart,
    log_throughput_error,
    qn,
    quiet_log_throughput,
)
from melange.harness.stats.means import (
    Means,
    TaskScores,
    adjusted_pairs,
    aggregate,
    combine,
    gap_closed,
    rank_groups,
    rank_ranges,
    retained,
    task_means,
)
from melange.harness.stats.paired import (
    Paired,
    holm,
    least_sign_flip_p,
    paired_difference,
    sign_flip_p,
    smallest_effect,
)
from melange.harness.stats.trimmed import trimmed_interval, trimmed_log_interval

__all__ = [
    "FEW",
    "QN_SMALLEST",
    "QUIET",
    "Z95",
    "Interval",
    "Means",
    "Paired",
    "TaskScores",
    "adjusted_pairs",
    "aggregate",
    "behind_quiet",
    "combine",
    "gap_closed",
    "halves_apart",
    "holm",
    "least_sign_flip_p",
    "log_throughput_error",
    "mean_interval",
    "paired_difference",
    "qn",
    "quiet_log_throughput",
    "rank_groups",
    "rank_ranges",
    "ratio_interval",
    "retained",
    "score_bounds",
    "score_interval",
    "share_interval",
    "sign_flip_p",
    "smallest_effect",
    "task_means",
    "trimmed_interval",
    "trimmed_log_interval",
    "wilson_interval",
]
