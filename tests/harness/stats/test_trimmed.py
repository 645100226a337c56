"""The mean that stands for rounds holds the truth as often as it claims."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import trim_mean

from melange.harness.stats import trimmed_interval, trimmed_log_interval

logs = st.lists(st.floats(-5, 5), min_size=2, max_size=30)


@given(logs)
def test_the_mean_is_that_of_scipy_inside_its_interval(values: list[float]) -> None:
    mean, low, high = trimmed_interval(values)
    assert mean == pytest.approx(trim_mean(values, 0.2), abs=1e-12)
    assert low is not None
    assert high is not None
    assert low <= mean <= high


def test_one_value_has_no_interval() -> None:
    assert trimmed_log_interval([math.log(3)]) == (pytest.approx(3), None, None)


def test_one_disturbed_round_of_six_ruins_nothing() -> None:
    quiet = [0.0, 0.01, -0.01, 0.02, -0.02]
    _, low, high = trimmed_interval([*quiet, math.log(2)])
    assert low is not None
    assert high is not None
    assert -0.1 < low < 0 < high < 0.1


@pytest.mark.parametrize("rounds", [2, 4, 6, 8, 12, 24])
@pytest.mark.parametrize("disturbed", [0.0, 0.1])
def test_an_interval_of_disturbed_rounds_holds_the_truth(rounds: int, disturbed: float) -> None:
    rng = np.random.default_rng(rounds)
    draws = rng.normal(0, 0.05, (1500, rounds))
    draws += (rng.random(draws.shape) < disturbed) * rng.uniform(-0.7, 0.7, draws.shape)
    ends = [trimmed_interval(list(row))[1:] for row in draws]
    share = np.mean([low <= 0 <= high for low, high in ends])  # type: ignore[operator]
    assert share > 0.95


def test_an_interval_that_ended_its_rounds_holds_the_truth() -> None:
    """Rounds end by the width of the interval: without a wider one, nine of ten would."""
    rng = np.random.default_rng(0)
    held = 0
    for row in rng.normal(0, 0.06, (1500, 24)):
        for rounds in range(6, 25):
            _, low, high = trimmed_interval(list(row[:rounds]))
            assert low is not None
            assert high is not None
            if high - low <= 2 * math.log1p(0.05) or rounds == 24:
                held += low <= 0 <= high
                break
    assert 0.925 < held / 1500 <= 0.97
