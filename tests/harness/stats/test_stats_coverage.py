"""Intervals cover the truth as often as they claim: in 93 to 97 % of draws.

A share of n examples takes n + 1 values, so at one fixed truth no interval covers exactly 95 %:
with n = 10 and a truth of 1 % nine runs of ten see no hit at all. So truths are drawn from narrow
bands, and the claim is about the band. What stays outside 93 to 97 % is listed in
docs/decisions/intervals.md and held here to the bounds named there.
"""

import numpy as np
import pytest
from scipy.special import betainc
from statsmodels.stats.proportion import proportion_confint

from melange.harness.stats import (
    TaskScores,
    adjusted_pairs,
    aggregate,
    gap_closed,
    holm,
    rank_groups,
    score_bounds,
    share_interval,
)
from melange.harness.stats.paired import difference_bounds

SIZES = (10, 20, 30, 100, 500)
BANDS = ((0, 0.05), (0.01, 0.05), (0.02, 0.1), (0.05, 0.2), (0.2, 0.5), (0.5, 0.8), (0.95, 1))
RUNS = 8000


def covered(bounds: tuple[np.ndarray, np.ndarray], truth: np.ndarray | float) -> float:
    low_K, high_K = bounds
    return float(np.mean((low_K <= truth) & (truth <= high_K)))


def groups(sizes: list[int]) -> np.ndarray:
    return np.repeat(np.arange(len(sizes)), sizes).astype(str)


def band_coverage(
    bounds: tuple[np.ndarray, np.ndarray], n: int, band: tuple[float, float]
) -> float:
    """Exact: each count's probability is integrated over the truths that its interval contains."""
    hits_M = np.arange(n + 1)
    low_M, high_M = (np.clip(end, *band) for end in bounds)
    below_M, above_M = (betainc(hits_M + 1, n - hits_M + 1, end) for end in (low_M, high_M))
    return float((above_M - below_M).clip(0).sum() / (n + 1) / (band[1] - band[0]))


@pytest.mark.parametrize("band", BANDS)
@pytest.mark.parametrize("n", SIZES)
def test_shares_are_covered_over_a_band_of_truths(n: int, band: tuple[float, float]) -> None:
    assert 0.93 <= band_coverage(share_interval(np.arange(n + 1) / n, n), n, band) <= 0.97


@pytest.mark.parametrize("method", ["jeffreys", "agresti_coull", "beta"])
def test_other_intervals_leave_the_bar_somewhere(method: str) -> None:
    found = [
        band_coverage(proportion_confint(np.arange(n + 1), n, method=method), n, band)
        for n in SIZES
        for band in BANDS
    ]
    assert max(found) > 0.97


@pytest.mark.parametrize("truth", [0.01, 0.02, 0.05, 0.95, 0.98, 0.99])
def test_shares_near_the_ends_are_covered_over_the_sizes_that_tasks_have(truth: float) -> None:
    rng = np.random.default_rng(1)
    sizes_M = np.arange(20, 501)
    hits_MR = rng.binomial(sizes_M[:, None], truth, (len(sizes_M), 300))
    shares_MR = hits_MR / sizes_M[:, None]
    assert 0.93 <= covered(share_interval(shares_MR, sizes_M[:, None]), truth) <= 0.97


@pytest.mark.parametrize(("mean", "spread"), [(0.1, 1), (0.5, 1), (0.5, 10), (0.9, 1)])
@pytest.mark.parametrize("n", SIZES)
def test_fractions_are_covered(n: int, mean: float, spread: float) -> None:
    """Beta(0.5, 10) has a tenth of the variance of 0/1 scores: too much coverage at n = 10."""
    rng = np.random.default_rng(2)
    scores_RN = rng.beta(mean * spread, (1 - mean) * spread, (RUNS, n))
    assert 0.93 <= covered(score_bounds(scores_RN), mean) <= (0.97 if n >= 30 else 0.985)


@pytest.mark.parametrize("share", [0.02, 0.3])
@pytest.mark.parametrize("n", SIZES)
def test_partial_credit_is_covered(n: int, share: float) -> None:
    """Three checks per example, each passed or not."""
    rng = np.random.default_rng(3)
    scores_RN = rng.binomial(3, share, (RUNS, n)) / 3
    assert 0.93 <= covered(score_bounds(scores_RN), share) <= (0.975 if n >= 20 else 0.985)


@pytest.mark.parametrize("n", [10, 20, 100])
def test_skewed_scores_outside_0_and_1_are_covered(n: int) -> None:
    """Student's interval covers 90 % of exponential scores with n = 10."""
    rng = np.random.default_rng(12)
    assert 0.93 <= covered(score_bounds(rng.exponential(3, (RUNS, n))), 3) <= 0.97
    assert 0.93 <= covered(score_bounds(rng.normal(3, 1, (RUNS, n))), 3) <= 0.97


@pytest.mark.parametrize("sizes", [[50] * 3, [20] * 5, [10] * 10, [10] * 20])
@pytest.mark.parametrize("shared", [0.3, 0.7])
def test_shares_of_few_clusters_are_covered(sizes: list[int], shared: float) -> None:
    """Below ten clusters up to 99.9 %: few that agree say little about how clusters differ."""
    rng = np.random.default_rng(13)
    truth_R = rng.uniform(0.2, 0.8, RUNS)
    fact_RN = np.repeat(rng.random((RUNS, len(sizes))) < truth_R[:, None], sizes, axis=1)
    alone_RN = rng.random(fact_RN.shape) < truth_R[:, None]
    scores_RN = np.where(rng.random(fact_RN.shape) < np.sqrt(shared), fact_RN, alone_RN) * 1.0
    found = covered(score_bounds(scores_RN, groups(sizes)), truth_R)
    assert 0.93 <= found <= (0.97 if len(sizes) >= 10 else 0.999)


@pytest.mark.parametrize("shared", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("band", [(0.02, 0.1), (0.2, 0.5), (0.9, 0.98)])
def test_clustered_shares_are_covered(band: tuple[float, float], shared: float) -> None:
    """124 facts in up to four phrasings; `shared`: the correlation of two phrasings of a fact.

    Near 0 and 1, where the count comes from few facts, a strong correlation costs two points.
    """
    rng = np.random.default_rng(4)
    sizes = [1, 2, 3, 4] * 31
    names_N = groups(sizes)
    truth_R = rng.uniform(*band, 4000)
    alone_RN = rng.random((4000, len(names_N))) < truth_R[:, None]
    fact_RG = rng.random((4000, len(sizes))) < truth_R[:, None]
    fact_RN = np.repeat(fact_RG, sizes, axis=1)
    follows_RN = rng.random(alone_RN.shape) < np.sqrt(shared)
    scores_RN = np.where(follows_RN, fact_RN, alone_RN).astype(float)
    least = 0.92 if shared == 0.9 and max(band) != 0.5 else 0.93
    assert least <= covered(score_bounds(scores_RN, names_N), truth_R) <= 0.97
    if shared == 0.9:  # far off without clusters
        assert covered(score_bounds(scores_RN), truth_R) < 0.85


def flips(rng: np.random.Generator, n: int, wins_R: np.ndarray, losses_R: np.ndarray) -> np.ndarray:
    """Differences of 0/1 scores: 1, -1 or 0."""
    draw_RN = rng.random((len(wins_R), n))
    won_RN = draw_RN < wins_R[:, None]
    return won_RN * 1.0 - (~won_RN & (draw_RN < (wins_R + losses_R)[:, None]))


@pytest.mark.parametrize("band", [(0, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 1)])
@pytest.mark.parametrize("n", SIZES)
def test_paired_differences_are_covered(n: int, band: tuple[float, float]) -> None:
    """`band`: the share of examples on which the sides differ, split between them at random.

    Where fewer than three examples are expected to differ, the interval covers too often.
    """
    rng = np.random.default_rng(5)
    differing_R, split_R = rng.uniform(*band, RUNS), rng.uniform(-1, 1, RUNS)
    truth_R = differing_R * split_R
    wins_R, losses_R = (differing_R + truth_R) / 2, (differing_R - truth_R) / 2
    found = covered(difference_bounds(flips(rng, n, wins_R, losses_R)), truth_R)
    assert 0.93 <= found <= (0.97 if n * np.mean(band) >= 2.5 else 1)


@pytest.mark.parametrize("shared", [0.3, 0.9])
def test_paired_differences_of_clusters_are_covered(shared: float) -> None:
    rng = np.random.default_rng(6)
    sizes = [1, 2, 3, 4] * 31
    differing_R, split_R = rng.uniform(0.05, 0.3, 4000), rng.uniform(-1, 1, 4000)
    truth_R = differing_R * split_R
    wins_R, losses_R = (differing_R + truth_R) / 2, (differing_R - truth_R) / 2
    fact_RN = np.repeat(flips(rng, len(sizes), wins_R, losses_R), sizes, axis=1)
    alone_RN = flips(rng, sum(sizes), wins_R, losses_R)
    scores_RN = np.where(rng.random(alone_RN.shape) < np.sqrt(shared), fact_RN, alone_RN)
    assert 0.93 <= covered(difference_bounds(scores_RN, groups(sizes)), truth_R) <= 0.97


@pytest.mark.parametrize("n", SIZES)
def test_paired_differences_of_fractions_are_covered(n: int) -> None:
    rng = np.random.default_rng(7)
    left_RN, right_RN = rng.beta(2, 3, (RUNS, n)), rng.beta(3, 2, (RUNS, n))
    assert 0.93 <= covered(difference_bounds(left_RN - right_RN), -0.2) <= 0.97


def two_sided(rng: np.random.Generator, n: int, truth_TK: np.ndarray) -> list[TaskScores]:
    """Scores on several tasks of candidates to whom the same examples are hard."""
    tasks = []
    for truth_K in truth_TK:
        own_KN = rng.random((len(truth_K), n))
        same_KN = rng.random(own_KN.shape) < 0.7
        pull_KN = np.where(same_KN, rng.random(n), own_KN)
        tasks.append(TaskScores(scores_KN=1.0 * (pull_KN < truth_K[:, None])))
    return tasks


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 30, 100])
def test_means_over_tasks_their_differences_and_gaps_are_covered(n: int) -> None:
    """Six tasks, some near 0 and some near 1; base, a steered model, its goal."""
    rng = np.random.default_rng(8)
    hits, asked = np.zeros(3), np.zeros(3)
    for _ in range(1200):
        base_T = rng.uniform(0.02, 0.6, 6)
        truth_TK = np.stack([base_T, base_T + 0.1, base_T + 0.38], axis=1)
        means = aggregate(two_sided(rng, n, truth_TK))
        mean, difference = means.interval(0), means.difference(1, 0)
        gap = gap_closed(means, base=0, tuned=2, candidate=1)
        found = [
            mean.low <= base_T.mean() <= mean.high,
            difference.low <= 0.1 <= difference.high,
            gap is not None and gap.low <= 0.1 / 0.38 <= gap.high,
        ]
        hits += found
        asked += [True, True, gap is not None]
    assert asked[2] > 1000
    assert (hits / asked >= 0.93).all()
    assert (hits / asked <= 0.97).all()


@pytest.mark.slow
@pytest.mark.parametrize(("n", "candidates", "tasks"), [(30, 8, 4), (200, 20, 3)])
def test_equal_candidates_are_told_apart_in_at_most_one_run_of_twenty(
    n: int, candidates: int, tasks: int
) -> None:
    rng = np.random.default_rng(9)
    wrong = 0
    for _ in range(400):
        truth_TK = np.repeat(rng.uniform(0.1, 0.9, (tasks, 1)), candidates, axis=1)
        wrong += max(rank_groups(aggregate(two_sided(rng, n, truth_TK)))) > 1
    assert wrong / 400 <= 0.05


@pytest.mark.slow
def test_a_leader_that_the_data_chose_needs_the_correction_over_all_pairs() -> None:
    """With twenty equal candidates, the top one significantly beats another in a fifth of runs."""
    rng = np.random.default_rng(10)
    found = {"over candidates": 0, "over pairs": 0}
    for _ in range(200):
        truth_TK = np.repeat(rng.uniform(0.1, 0.9, (3, 1)), 20, axis=1)
        means = aggregate(two_sided(rng, 100, truth_TK))
        leader = int(np.argmax(means.values_K))
        p_values = [means.difference(leader, k).p_value for k in range(20) if k != leader]
        found["over candidates"] += min(holm(p_values)) <= 0.05
        found["over pairs"] += adjusted_pairs(means)[leader].min() <= 0.05
    assert found["over candidates"] / 200 > 0.1
    assert found["over pairs"] / 200 <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("candidates", [2, 20])
def test_the_leaders_interval_holds_although_the_data_chose_it(candidates: int) -> None:
    """The interval of a candidate chosen beforehand covers 72 % of the leaders of twenty."""
    rng = np.random.default_rng(14)
    hits, runs = 0, 400
    for _ in range(runs):
        truth_TK = np.repeat(rng.uniform(0.1, 0.9, (3, 1)), candidates, axis=1)
        means = aggregate(two_sided(rng, 100, truth_TK))
        found = means.chosen(int(np.argmax(means.values_K)))
        hits += found.low <= truth_TK[:, 0].mean() <= found.high
    assert hits / runs >= 0.93


def about_the_same_facts(rng: np.random.Generator, truth_K: np.ndarray) -> list[TaskScores]:
    """Four tasks of 128 facts each: a task, its shifted twin, and two that share half of theirs.

    A candidate's answers about a fact mostly depend on whether it knows it, in all tasks.
    """
    known_KF = rng.random((len(truth_K), 256)) < truth_K[:, None]
    tasks = []
    for first in (0, 0, 64, 128):
        guess_KN = rng.random((len(truth_K), 128)) < truth_K[:, None]
        knows_KN = known_KF[:, first : first + 128]
        scores_KN = np.where(rng.random(guess_KN.shape) < 0.8, knows_KN, guess_KN)
        names_N = np.array([f"fact {first + i}" for i in range(128)])
        tasks.append(TaskScores(scores_KN=1.0 * scores_KN, clusters_N=names_N))
    return tasks


@pytest.mark.slow
def test_facts_that_tasks_share_are_counted_once() -> None:
    """As independent, means have 87 % coverage, and half of the runs rank 40 equal candidates."""
    rng = np.random.default_rng(11)
    hits, parted, runs = np.zeros(2), 0, 600
    for _ in range(runs):
        truth = rng.uniform(0.2, 0.8)
        means = aggregate(about_the_same_facts(rng, np.full(40, truth)))
        mean, difference = means.interval(0), means.difference(1, 2)
        hits += [mean.low <= truth <= mean.high, difference.low <= 0 <= difference.high]
        parted += max(rank_groups(means)) > 1
    assert (hits / runs >= 0.93).all()
    assert (hits / runs <= 0.97).all()
    assert parted / runs <= 0.05
