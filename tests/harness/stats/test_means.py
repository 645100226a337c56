"""Means over tasks, ranks and ratios: laws, and values from the literature."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from melange.harness.stats import (
    Means,
    TaskScores,
    adjusted_pairs,
    aggregate,
    combine,
    gap_closed,
    rank_groups,
    retained,
    score_interval,
    task_means,
)

seeds = st.integers(0, 10_000)


def drawn(seed: int, *, candidates: int, n: int = 40, share_a_cluster: int = 1) -> TaskScores:
    rng = np.random.default_rng(seed)
    skill_K1 = rng.uniform(0.1, 0.9, (candidates, 1))
    clusters_N = np.array([f"fact {i // share_a_cluster}" for i in range(n)])
    return TaskScores(scores_KN=1.0 * (rng.random((candidates, n)) < skill_K1),
                      clusters_N=clusters_N)  # fmt: skip


@given(seeds, st.integers(2, 8))
def test_the_mean_of_one_task_is_that_task(seed: int, candidates: int) -> None:
    task = drawn(seed, candidates=candidates, share_a_cluster=3)
    means = aggregate([task])
    for k, row in enumerate(task.scores_KN):
        alone = score_interval(row, task.clusters_N)
        found = means.interval(k)
        assert (found.mean, found.low, found.high) == pytest.approx(
            (alone.mean, alone.low, alone.high)
        )


@given(seeds, st.integers(1, 4))
def test_a_task_that_asks_about_the_same_things_again_tells_nothing_new(
    seed: int, share: int
) -> None:
    task = drawn(seed, candidates=3, share_a_cluster=share)
    alone, twice = task_means(task), aggregate([task, task])
    assert twice.covariance_KK == pytest.approx(alone.covariance_KK)
    assert twice.degrees == pytest.approx(alone.degrees)
    assert twice.effective_clusters == pytest.approx(alone.effective_clusters)


@given(seeds)
def test_tasks_that_share_a_part_lie_between_one_task_and_two(seed: int) -> None:
    first, second = drawn(seed, candidates=2), drawn(seed, candidates=2)
    others_N = np.array([f"other {i}" if i % 2 else f"fact {i}" for i in range(40)])
    half = TaskScores(scores_KN=second.scores_KN, clusters_N=others_N)
    apart = TaskScores(
        scores_KN=second.scores_KN, clusters_N=np.array([f"o {i}" for i in range(40)])
    )
    degrees = [aggregate([first, other]).degrees for other in (first, half, apart)]
    assert degrees[0] < degrees[1] < degrees[2]


@given(seeds)
def test_names_of_numbered_clusters_are_those_of_the_clusters(seed: int) -> None:
    task = drawn(seed, candidates=2, share_a_cluster=2)
    names_G, numbers_N = np.unique(task.clusters_N, return_inverse=True)
    numbered = TaskScores(
        scores_KN=task.scores_KN, clusters_N=numbers_N, names_G=names_G.astype(object)
    )
    both = aggregate([task, numbered])
    assert both.covariance_KK == pytest.approx(aggregate([task, task]).covariance_KK)


@given(seeds)
def test_tasks_weigh_the_same_whatever_their_size(seed: int) -> None:
    small, large = drawn(seed, candidates=2, n=10), drawn(seed + 1, candidates=2, n=400)
    means = aggregate([small, large])
    by_task_TK = [task.scores_KN.mean(axis=1) for task in (small, large)]
    assert means.values_K == pytest.approx(np.mean(by_task_TK, axis=0))
    assert means.n == 410


@given(seeds, st.integers(1, 4))
def test_a_difference_of_means_has_the_variance_of_the_paired_scores(seed: int, size: int) -> None:
    tasks = [drawn(seed + i, candidates=3, share_a_cluster=size) for i in range(3)]
    means = aggregate(tasks)
    differences = [
        TaskScores(scores_KN=task.scores_KN[:1] - task.scores_KN[1:2], clusters_N=task.clusters_N)
        for task in tasks
    ]
    alone = aggregate(differences).covariance_KK[0, 0]
    assert means.variance_KK[0, 1] - means.floor == pytest.approx(alone, abs=1e-12)


@given(seeds, st.integers(0, 4), st.integers(0, 4))
def test_the_interval_of_a_difference_and_its_p_value_agree(
    seed: int, left: int, right: int
) -> None:
    found = aggregate([drawn(seed, candidates=5), drawn(seed + 1, candidates=5)])
    gap = found.difference(left, right)
    assert (gap.low <= 0 <= gap.high) == (gap.p_value >= 0.05)
    assert gap.verdict == ("unclear" if gap.p_value >= 0.05
                           else "higher" if gap.difference > 0 else "lower")  # fmt: skip


@given(seeds, st.integers(2, 9))
def test_identical_candidates_are_one_group(seed: int, candidates: int) -> None:
    one = drawn(seed, candidates=1)
    same = TaskScores(scores_KN=np.repeat(one.scores_KN, candidates, axis=0))
    assert rank_groups(aggregate([same, same])) == [1] * candidates


@given(seeds)
def test_nobody_outranks_the_best(seed: int) -> None:
    means = aggregate([drawn(seed, candidates=6)])
    assert rank_groups(means)[int(np.argmax(means.values_K))] == 1
    adjusted_KK = adjusted_pairs(means)
    assert (adjusted_KK == adjusted_KK.T).all()
    assert (np.diag(adjusted_KK) == 1).all()


def test_ranks_count_those_that_are_significantly_better() -> None:
    means = Means(
        values_K=np.array([0.5, 0.9, 0.51, 0.7]),
        covariance_KK=np.eye(4) * 1e-4,
        low_K=np.zeros(4),
        high_K=np.ones(4),
        degrees=1000,
        n=2000,
        effective=2000,
        effective_clusters=2000,
        floor=0.0,
    )
    assert rank_groups(means) == [3, 1, 3, 2]


@given(seeds, st.permutations(range(5)))
def test_ranks_do_not_depend_on_the_order_of_candidates(seed: int, order: list[int]) -> None:
    means = aggregate([drawn(seed, candidates=5, n=200), drawn(seed + 1, candidates=5, n=200)])
    ranks = rank_groups(means)
    assert rank_groups(means.select(order)) == [ranks[k] for k in order]


def test_a_gap_is_closed_by_tuning_and_left_open_by_the_base() -> None:
    rng = np.random.default_rng(5)
    scores_KN = 1.0 * (rng.random((3, 400)) < np.array([[0.3], [0.5], [0.7]]))
    means = aggregate([TaskScores(scores_KN=scores_KN)])
    ends = {candidate: gap_closed(means, base=0, tuned=2, candidate=candidate)
            for candidate in range(3)}  # fmt: skip
    assert [ends[0].mean, ends[2].mean] == pytest.approx([0, 1])
    assert ends[1].low < ends[1].mean < ends[1].high
    assert gap_closed(means, base=2, tuned=0, candidate=1) is None
    assert gap_closed(means, base=0, tuned=0, candidate=1) is None
    kept = retained(means, whole=2, candidate=2)
    assert (kept.mean, kept.low, kept.high) == pytest.approx((1, 1, 1), abs=1e-7)


def test_fiellers_interval_is_that_of_the_literature() -> None:
    """Independent 10 +- 1 and 5 +- 0.5, with so many degrees of freedom that t is normal."""
    means = Means(
        values_K=np.array([10.0, 5.0]),
        covariance_KK=np.diag([1.0, 0.25]),
        low_K=np.zeros(2),
        high_K=np.zeros(2),
        degrees=1e9,
        n=100,
        effective=100,
        effective_clusters=100,
        floor=0.0,
    )
    g = 1.959964**2 * 0.25 / 25
    half = 1.959964 / 5 * math.sqrt(1 * (1 - g) + 4 * 0.25) / (1 - g)
    found = retained(means, whole=1, candidate=0)
    assert (found.low, found.high) == pytest.approx((2 / (1 - g) - half, 2 / (1 - g) + half),
                                                    abs=1e-5)  # fmt: skip


def test_candidates_without_scores_stay_without_a_mean() -> None:
    first = task_means(drawn(1, candidates=2)).spread([0, 2], 3)
    second = task_means(drawn(2, candidates=3))
    means = combine([first, second])
    assert np.isnan(means.values_K).tolist() == [False, True, False]
    task = drawn(2, candidates=3)
    rows = TaskScores(scores_KN=task.scores_KN[[0, 2]], clusters_N=task.clusters_N)
    complete = aggregate([drawn(1, candidates=2), rows])
    kept = means.select([0, 2])
    assert kept.values_K == pytest.approx(complete.values_K)
    assert kept.covariance_KK == pytest.approx(complete.covariance_KK)


def test_a_mean_on_other_examples_is_unrelated_to_the_rest() -> None:
    means = task_means(drawn(1, candidates=2)).spread([0, 1], 3)
    known = means.with_unrelated(2, score_interval([0.0, 1.0, 1.0, 1.0]))
    assert known.covariance_KK[2, :2].tolist() == [0, 0]
    assert known.variance_KK[0, 2] > known.covariance_KK[2, 2]
    assert known.interval(2).mean == 0.75


@pytest.mark.parametrize("values", [[1.0], [0.0], [0.5]])
def test_one_example_tells_next_to_nothing(values: list[float]) -> None:
    found = score_interval(values)
    assert found.high - found.low > 0.75
    means = aggregate([TaskScores(scores_KN=np.array([values, [0.5]]))])
    assert means.difference(0, 1).verdict == "unclear"
