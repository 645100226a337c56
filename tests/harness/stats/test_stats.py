"""Intervals, paired tests, corrections and ranks: laws, and values of scipy and statsmodels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.regression.linear_model import OLS
from statsmodels.robust.scale import qn_scale
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportion_confint

from melange.harness.stats import (
    TaskScores,
    holm,
    log_throughput_error,
    mean_interval,
    paired_difference,
    qn,
    quiet_log_throughput,
    ratio_interval,
    score_interval,
    sign_flip_p,
    smallest_effect,
    task_means,
    wilson_interval,
)

positive = st.floats(0.01, 1000)
bits = st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=60)
fractions = st.lists(st.floats(0, 1), min_size=2, max_size=60)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=30)
seeds = st.integers(0, 10_000)


def drawn(seed: int, *, candidates: int, n: int = 40, share_a_cluster: int = 1) -> TaskScores:
    rng = np.random.default_rng(seed)
    skill_K1 = rng.uniform(0.1, 0.9, (candidates, 1))
    clusters_N = np.array([f"fact {i // share_a_cluster}" for i in range(n)])
    return TaskScores(scores_KN=1.0 * (rng.random((candidates, n)) < skill_K1),
                      clusters_N=clusters_N)  # fmt: skip


@given(st.integers(1, 2000), st.data())
def test_wilson_is_that_of_statsmodels(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    expected = proportion_confint(successes, n, method="wilson")
    assert wilson_interval(successes / n, n) == pytest.approx(expected, abs=1e-9)


@given(bits)
def test_independent_0_1_scores_have_wilsons_interval(values: list[float]) -> None:
    found = score_interval(values)
    assert (found.low, found.high) == wilson_interval(found.mean, found.n)
    assert found == score_interval(values, [""] * len(values))


@given(fractions, st.data())
def test_the_interval_of_scores_holds_their_mean_inside_0_and_1(
    values: list[float], data: st.DataObject
) -> None:
    clusters = data.draw(st.lists(st.sampled_from("abcde"), min_size=len(values),
                                  max_size=len(values)))  # fmt: skip
    found = score_interval(values, clusters)
    assert 0 <= found.low <= found.mean + 1e-12
    assert found.mean - 1e-12 <= found.high <= 1
    assert found.low < found.high


@given(bits)
def test_examples_told_twice_tell_nothing_new(values: list[float]) -> None:
    """Except that Wilson's interval is then wider, because there are only a few clusters."""
    names = [f"fact {i}" for i in range(len(values))]
    once = score_interval(values)
    twice = score_interval([*values, *values], [*names, *names])
    assert twice.high - twice.low >= once.high - once.low - 1e-9


@given(st.integers(2, 12), st.integers(1, 5), seeds)
def test_clusters_of_one_size_have_the_variance_of_statsmodels(
    num_clusters: int, size: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values_N = rng.normal(size=num_clusters * size)
    groups_N = np.repeat(np.arange(num_clusters), size)
    found = task_means(TaskScores(scores_KN=values_N[None], clusters_N=groups_N.astype(str)))
    fit = OLS(values_N, np.ones(len(values_N))).fit(cov_type="cluster",
                                                    cov_kwds={"groups": groups_N})  # fmt: skip
    expected = float(fit.cov_params()[0, 0])
    assert found.covariance_KK[0, 0] == pytest.approx(expected, abs=1e-9)
    assert found.degrees == pytest.approx(num_clusters - 1)


@given(st.lists(positive, min_size=2, max_size=9, unique=True))
def test_the_mean_interval_is_that_of_scipy(values: list[float]) -> None:
    expected = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx((expected.low, expected.high))


def test_scores_outside_0_and_1_that_are_not_skewed_have_students_interval() -> None:
    values = [3.0, -1.0, 4.0, 0.0]
    found = score_interval(values)
    assert (found.low, found.high) == pytest.approx(mean_interval(values), abs=1e-9)


@given(st.lists(st.tuples(positive, positive), min_size=2, max_size=9))
def test_a_ratio_turned_over_is_one_over_it(pairs: list[tuple[float, float]]) -> None:
    value, low, high = ratio_interval(pairs)
    turned = ratio_interval([(right, left) for left, right in pairs])
    assert low is not None
    assert high is not None
    assert turned == pytest.approx((1 / value, 1 / high, 1 / low))


def test_one_round_has_a_ratio_and_no_interval() -> None:
    assert ratio_interval([(2.0, 1.0)]) == (pytest.approx(2.0), None, None)


@pytest.mark.parametrize("lasts", [1, 3])
def test_the_error_of_a_log_throughput_is_its_spread_over_runs(lasts: int) -> None:
    rng = np.random.default_rng(0)
    slower_CWR = rng.exponential(0.1, (800, 3, 288 // lasts))  # disturbances only slow rounds down
    log_throughput_CWR = -np.repeat(slower_CWR, lasts, axis=2)
    spread = quiet_log_throughput(log_throughput_CWR).mean(axis=1).std()
    assert log_throughput_error(log_throughput_CWR) == pytest.approx(spread, rel=0.1)


def test_what_slows_all_candidates_alike_is_no_error_of_a_log_throughput() -> None:
    drift_R = np.linspace(0, 0.5, 48)
    assert log_throughput_error(np.zeros((5, 2, 48)) - drift_R) == pytest.approx(0, abs=1e-12)
    assert math.isnan(log_throughput_error(np.zeros((5, 2, 4))))


@settings(max_examples=15)  # statsmodels collects garbage in every call
@given(seeds, st.integers(10, 60))
def test_qn_is_that_of_statsmodels_with_a_factor_for_few(seed: int, n: int) -> None:
    values_N = np.random.default_rng(seed).normal(size=n)
    factor = n / (n + (1.4 if n % 2 else 3.8))
    assert qn(values_N) == pytest.approx(factor * qn_scale(values_N), abs=1e-9)


@pytest.mark.parametrize("n", [10, 14, 15, 40])
def test_qn_of_few_is_as_wide_as_what_they_were_drawn_from(n: int) -> None:
    draws = np.random.default_rng(0).normal(0, 3, (2000, n))
    assert np.mean([qn(values_N) for values_N in draws]) == pytest.approx(3, rel=0.03)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(1, 30))
def test_the_paired_test_of_0_1_scores_is_mcnemars(
    left_only: int, right_only: int, both: int, neither: int
) -> None:
    left = [1.0] * left_only + [0.0] * right_only + [1.0] * both + [0.0] * neither
    right = [0.0] * left_only + [1.0] * right_only + [1.0] * both + [0.0] * neither
    found = paired_difference(left, right)
    expected = mcnemar([[both, left_only], [right_only, neither]], exact=True).pvalue
    assert found.p_value == pytest.approx(expected, abs=1e-9)
    assert (found.left_only, found.right_only) == (left_only, right_only)
    assert found.difference == pytest.approx((left_only - right_only) / len(left))


@given(st.lists(st.integers(-4, 4), min_size=2, max_size=11))
def test_the_sign_flip_test_is_scipys_over_all_flips(totals: list[int]) -> None:
    expected = scipy_stats.permutation_test(
        (np.array(totals, dtype=float),), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_p(totals) == pytest.approx(expected.pvalue, abs=1e-9)


@given(st.lists(st.integers(-64, 64), min_size=2, max_size=10).filter(any))
def test_fractions_are_tested_like_whole_numbers(totals: list[int]) -> None:
    """Fractions are put on a grid, which is exact here: their sizes add up to a power of two."""
    rest = 1024 - sum(map(abs, totals))
    whole = [*totals, rest]
    assert sign_flip_p([total / 1024 for total in whole]) == pytest.approx(sign_flip_p(whole))


@pytest.mark.parametrize("num_totals", [60, 400, 600])
def test_many_fractions_are_tested_as_by_random_flips(num_totals: int) -> None:
    rng = np.random.default_rng(num_totals)
    totals_M = rng.normal(0.1, 1, num_totals)
    flips_RM = rng.choice([-1.0, 1.0], (20_000, num_totals))
    drawn = np.mean(np.abs(flips_RM @ totals_M) >= abs(totals_M.sum()))
    assert sign_flip_p(totals_M) == pytest.approx(drawn, abs=0.012)


@given(fractions, st.data())
def test_a_paired_difference_changes_sign_with_its_sides(
    left: list[float], data: st.DataObject
) -> None:
    same = {"min_size": len(left), "max_size": len(left)}
    right = data.draw(st.lists(st.floats(0, 1), **same))
    clusters = data.draw(st.lists(st.sampled_from(["", "a", "b", "c"]), **same))
    there = paired_difference(left, right, clusters)
    back = paired_difference(right, left, clusters)
    assert (back.difference, back.low, back.high) == pytest.approx(
        (-there.difference, -there.high, -there.low)
    )
    assert back.p_value == pytest.approx(there.p_value)
    assert (back.left_only, back.right_only) == (there.right_only, there.left_only)


@given(fractions)
def test_equal_scores_differ_by_nothing_and_never_significantly(values: list[float]) -> None:
    found = paired_difference(values, values)
    assert (found.difference, found.p_value) == (0, 1)
    assert found.low == pytest.approx(-found.high)
    assert 0 < found.high <= 1


def test_the_paired_interval_is_near_students_where_many_examples_differ() -> None:
    left, right = [1.0] * 12 + [0.0] * 88, [1.0] * 3 + [0.0] * 97
    found = paired_difference(left, right)
    wald = scipy_stats.ttest_rel(left, right).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((wald.low, wald.high), abs=0.006)


@given(st.lists(st.integers(0, 1), min_size=4, max_size=40))
def test_clusters_that_flip_together_count_once(flips: list[int]) -> None:
    left, right = np.repeat(flips, 4), np.zeros(4 * len(flips))
    names = [f"fact {i // 4}" for i in range(len(left))]
    together = paired_difference(left, right, names).p_value
    assert together == pytest.approx(paired_difference(flips, np.zeros(len(flips))).p_value)


@settings(max_examples=15)  # statsmodels collects garbage in every call
@given(p_values)
def test_holm_is_that_of_statsmodels(values: list[float]) -> None:
    assert holm(values) == pytest.approx(multipletests(values, method="holm")[1], abs=1e-9)


@given(p_values)
def test_holm_keeps_the_order_and_lowers_nothing(values: list[float]) -> None:
    adjusted = holm(values)
    assert all(after >= before for before, after in zip(values, adjusted, strict=True))
    order = np.argsort(values, kind="stable")
    assert list(np.array(adjusted)[order]) == sorted(adjusted)
    assert holm([]) == []


@given(st.integers(2, 5000), st.floats(0.05, 2), st.floats(0.5, 0.95))
def test_the_smallest_effect_has_the_power_it_promises(n: int, sd: float, power: float) -> None:
    found = smallest_effect(n, sd, power=power)
    reached = NormalIndPower(ddof=0).power(found / sd, nobs1=n, alpha=0.05, ratio=0)
    assert reached == pytest.approx(power, abs=2e-3)  # statsmodels includes the other tail


def test_the_smallest_effect_is_that_of_the_books() -> None:
    assert smallest_effect(100, 1.0) == pytest.approx((1.959964 + 0.841621) / 10, abs=1e-6)
