"""Step detection finds planted steps at their run, and none in noise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from melange.reports.analysis.trends.steps import MIN_RUNS, Step, find_steps

SERIES = 300
FALSE_ALARMS = 0.05
NOISES = {
    "normal": lambda draw, shape: draw.normal(size=shape),
    "heavy tails": lambda draw, shape: draw.standard_t(3, size=shape),
    "to one side": lambda draw, shape: draw.lognormal(0, 0.5, size=shape),
    "one night in twenty off": lambda draw, shape: with_outliers(draw, shape),
    "nights alike": lambda draw, shape: alike(draw, shape, 0.3),
    "nights very alike": lambda draw, shape: alike(draw, shape, 0.9),
    "rare flips of one example": lambda draw, shape: draw.choice([0, 0, 0, 0, 1], size=shape) / 5,
}


def alike(draw: np.random.Generator, shape: tuple[int, int], correlation: float) -> np.ndarray:
    """Noise with correlated neighbours and constant variance."""
    noise = draw.normal(size=shape)
    for at in range(1, shape[1]):
        fresh = np.sqrt(1 - correlation**2) * noise[:, at]
        noise[:, at] = correlation * noise[:, at - 1] + fresh
    return noise


def with_outliers(draw: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return draw.normal(size=shape) + 10 * (draw.random(shape) < 0.05)


def no_intervals(values_LN: np.ndarray) -> np.ndarray:
    return np.full_like(values_LN, np.nan)


def steps_of(values: list[float], half_widths: list[float] | None = None) -> list[Step]:
    values_LN = np.array([values], float)
    halves_LN = no_intervals(values_LN) if half_widths is None else np.array([half_widths], float)
    return find_steps(values_LN, halves_LN)[0]


def noisy(level: float, runs: int, seed: int = 0) -> list[float]:
    return (level + np.random.default_rng(seed).normal(0, 1, runs)).tolist()


# Noise


@pytest.mark.parametrize("runs", [8, 30, 120, 365])
@pytest.mark.parametrize("noise", NOISES)
def test_noise_has_no_step_in_95_of_100_series(noise: str, runs: int) -> None:
    draw = np.random.default_rng([runs, *noise.encode()])
    values_LN = 100 + NOISES[noise](draw, (SERIES, runs))
    found = find_steps(values_LN, no_intervals(values_LN))
    assert np.mean([bool(steps) for steps in found]) <= FALSE_ALARMS


def test_runs_whose_intervals_are_wide_raise_no_alarm() -> None:
    """Every third night has a tenth of the examples, and three times the noise."""
    draw = np.random.default_rng(0)
    errors_LN = np.tile(np.where(np.arange(90) % 3, 1.0, 3.0), (SERIES, 1))
    values_LN = 100 + draw.normal(size=errors_LN.shape) * errors_LN
    found = find_steps(values_LN, 1.96 * errors_LN)
    assert np.mean([bool(steps) for steps in found]) <= FALSE_ALARMS


@pytest.mark.parametrize("first", [0, 30, 58])
def test_two_runs_that_are_off_are_no_step(first: int) -> None:
    values = noisy(100, 60)
    values[first : first + 2] = [500.0, 500.0]
    assert steps_of(values) == []


@given(st.floats(-1e6, 1e6), st.integers(1, 60))
def test_a_constant_has_no_step(level: float, runs: int) -> None:
    assert steps_of([level] * runs) == []


# Steps


def test_a_planted_step_is_found_at_its_run_with_both_levels() -> None:
    (step,) = steps_of(noisy(100, 40) + noisy(110, 20, seed=1))
    assert step.at == 40
    assert (step.runs_before, step.runs_after) == (40, 20)
    assert step.before == pytest.approx(100, abs=0.5)
    assert step.after == pytest.approx(110, abs=0.7)
    assert step.low < 10 < step.high


def test_a_rise_and_a_fall_are_two_steps() -> None:
    values = noisy(100, 30) + noisy(106, 30, seed=1) + noisy(100, 30, seed=2)
    assert [step.at for step in steps_of(values)] == [30, 60]
    assert [step.change > 0 for step in steps_of(values)] == [True, False]


def test_a_slow_down_of_five_noise_levels_is_found_in_nine_of_ten_after_five_nights() -> None:
    draw = np.random.default_rng(0)
    values_LN = draw.normal(100, 1, (SERIES, 65))
    values_LN[:, 60:] -= 5
    found = find_steps(values_LN, no_intervals(values_LN))
    at_most_one_off = [bool(steps) and abs(steps[-1].at - 60) <= 1 for steps in found]
    assert np.mean(at_most_one_off) >= 0.9


def test_intervals_of_a_change_cover_the_truth() -> None:
    draw = np.random.default_rng(0)
    values_LN = draw.normal(100, 1, (1000, 100))
    values_LN[:, 50:] += 8
    found = find_steps(values_LN, no_intervals(values_LN))
    covered = [steps[0].low <= 8 <= steps[0].high for steps in found if len(steps) == 1]
    assert len(covered) > 950
    assert np.mean(covered) >= 0.93


def test_numbers_that_repeat_exactly_step_on_a_small_change() -> None:
    """Greedy answers repeat each night, so that a change of one point comes from the code."""
    half_width = 0.04
    (step,) = steps_of([0.72] * 20 + [0.71] * 3, [half_width] * 23)
    assert step.at == 20
    assert step.change == pytest.approx(-0.01)


def test_one_example_of_five_hundred_that_flips_for_some_nights_is_no_step() -> None:
    values = [0.72] * 20 + [0.722] * 4 + [0.72] * 20
    assert steps_of(values, [0.04] * 44) == []


def test_a_run_with_a_wide_interval_counts_for_less() -> None:
    values = [*noisy(100, 60, seed=1), 107.0, 107.5, 106.5, 107.2]
    narrow = [2.0] * 64
    wide = [2.0] * 60 + [20.0] * 4
    assert [step.at for step in steps_of(values, narrow)] == [60]
    assert steps_of(values, wide) == []


# Gaps and edges


def test_a_step_after_a_gap_begins_at_the_first_run_that_has_a_value() -> None:
    values = [*noisy(100, 30), *[float("nan")] * 5, *noisy(120, 10, seed=1)]
    (step,) = steps_of(values)
    assert step.at == 35
    assert (step.runs_before, step.runs_after) == (30, 10)


@given(st.integers(0, 3), st.integers(0, 4))
def test_too_few_runs_have_no_step(known: int, gaps: int) -> None:
    values = [float("nan")] * gaps + [float(10**at) for at in range(known)]
    assert steps_of(values) == []


@given(
    st.lists(st.one_of(st.floats(-1e3, 1e3), st.just(float("nan"))), min_size=1, max_size=40),
    st.lists(st.one_of(st.floats(0, 10), st.just(float("nan"))), min_size=40, max_size=40),
)
def test_levels_last_and_steps_come_in_order(values: list[float], half_widths: list[float]) -> None:
    steps = steps_of(values, half_widths[: len(values)])
    assert [step.at for step in steps] == sorted({step.at for step in steps})
    for step in steps:
        assert min(step.runs_before, step.runs_after) >= MIN_RUNS
        assert np.isfinite([step.before, step.after, step.low, step.high]).all()
        assert not np.isnan(values[step.at])


@given(st.floats(0.01, 1000), st.integers(0, 2**32 - 1))
def test_the_unit_does_not_matter(factor: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(50, 1, 40)
    values[25:] += 6
    ats = [[step.at for step in steps_of((values * scale).tolist())] for scale in (1.0, factor)]
    assert ats[0] == ats[1]


def test_series_are_searched_as_if_alone() -> None:
    values_LN = np.array([noisy(100, 20) + noisy(120, 20), noisy(5, 40, seed=3)])
    together = find_steps(values_LN, no_intervals(values_LN))
    assert together == [steps_of(row.tolist()) for row in values_LN]


def test_no_series_and_no_runs_are_no_steps() -> None:
    assert find_steps(np.empty((0, 5)), np.empty((0, 5))) == []
    assert find_steps(np.empty((2, 0)), np.empty((2, 0))) == [[], []]
