"""Ranges of ranks follow the order of the means, and hold the true rank."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from melange.harness.stats import Means, rank_groups, rank_ranges


def means_of(values: list[float], errors: list[float]) -> Means:
    values_K, errors_K = np.array(values), np.array(errors)
    return Means(
        values_K=values_K, covariance_KK=np.diag(errors_K**2), low_K=values_K, high_K=values_K,
        degrees=500.0, n=500, effective=500, effective_clusters=500, floor=0.0,
    )  # fmt: skip


def test_a_candidate_with_a_wide_interval_does_not_stand_below_one_of_a_better_range() -> None:
    """The last one is too uncertain to be beaten by anybody, the third is beaten by two."""
    means = means_of([0.8, 0.79, 0.6, 0.59], [0.001, 0.001, 0.001, 0.3])
    assert rank_ranges(means) == [(1, 2), (1, 3), (1, 4), (1, 4)]
    means = means_of([0.8, 0.7, 0.6, 0.5], [0.001, 0.001, 0.001, 0.001])
    assert rank_ranges(means) == [(1, 1), (2, 2), (3, 3), (4, 4)]


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0.001, 0.2)), min_size=1, max_size=12, unique=True
    )
)
def test_ranges_are_in_the_order_of_the_means(told: list[tuple[float, float]]) -> None:
    means = means_of(*map(list, zip(*told, strict=True)))  # type: ignore[arg-type]
    ranges = rank_ranges(means)
    ordered = [ranges[k] for k in np.argsort(-means.values_K, kind="stable")]
    assert ordered == [
        (f, w) for f, w in zip(*map(sorted, zip(*ordered, strict=True)), strict=True)
    ]
    places = np.argsort(np.argsort(-means.values_K, kind="stable"))
    assert all(low <= place + 1 <= high for (low, high), place in zip(ranges, places, strict=True))
    assert rank_groups(means) == [low for low, _ in ranges]
