"""Intervals against statsmodels and scipy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.proportion import proportion_confint

from harness.stats import mean_interval, quantile, ratio_interval, wilson_interval

positive = st.floats(0.01, 1000)


@given(st.integers(1, 2000), st.data())
def test_wilson_is_that_of_statsmodels(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    expected = proportion_confint(successes, n, method="wilson")
    assert wilson_interval(successes / n, n) == pytest.approx(expected, abs=1e-9)


@given(st.lists(positive, min_size=2, max_size=9, unique=True))
def test_the_mean_interval_is_that_of_scipy(values: list[float]) -> None:
    expected = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx((expected.low, expected.high))


@given(st.lists(st.tuples(positive, positive), min_size=2, max_size=9))
def test_a_ratio_turned_over_is_one_over_it(pairs: list[tuple[float, float]]) -> None:
    value, low, high = ratio_interval(pairs)
    turned = ratio_interval([(right, left) for left, right in pairs])
    assert low is not None
    assert high is not None
    assert turned == pytest.approx((1 / value, 1 / high, 1 / low))


def test_one_round_has_a_ratio_and_no_interval() -> None:
    assert ratio_interval([(2.0, 1.0)]) == (pytest.approx(2.0), None, None)


def test_quantiles_are_linear_between_neighbours() -> None:
    assert [quantile([1.0, 2.0, 4.0], share) for share in (0, 0.5, 0.75, 1)] == [1, 2, 3, 4]
