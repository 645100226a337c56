"""Slower candidates are told from untouched ones, few or many; untouched ones are never named."""

import math

import numpy as np
import pytest

from melange.reports.analysis.comparison import Verdict
from melange.reports.analysis.comparison.groups import own_changes
from melange.reports.analysis.comparison.judging import judge
from melange.reports.analysis.comparison.noise import LogRounds
from melange.reports.analysis.comparison.speed import _speeds
from melange.reports.analysis.comparison.timings import Axes

CANDIDATES = [f"c{number}" for number in range(15)]
AXES = Axes(CANDIDATES, ["a", "b"], 0)
SLOWER = -math.log(1.15)


def changes(num_victims: int, rng: np.random.Generator) -> np.ndarray:
    change_CW = rng.normal(0, 0.013, (15, 1)) + rng.normal(0, 0.005, (15, 2))
    change_CW[:num_victims] += SLOWER
    return change_CW


@pytest.mark.parametrize("num_victims", [1, 5, 8, 10, 14])
@pytest.mark.parametrize("machine", [0.0, -0.3, 0.2])
def test_victims_are_measured_from_the_untouched(num_victims, machine):
    change_CW = changes(num_victims, np.random.default_rng(num_victims)) + machine
    found = own_changes(change_CW, machine + 0.01, reference=None)
    assert found.own_CW[:num_victims].mean() == pytest.approx(SLOWER, abs=0.03)
    assert found.own_CW[num_victims:].mean() == pytest.approx(0.0, abs=0.02)
    assert found.shared_W == pytest.approx(machine, abs=0.03)


def test_a_slower_engine_is_nobodys_own_change():
    found = own_changes(changes(15, np.random.default_rng(0)), 0.0, reference=None)
    assert abs(found.own_CW.mean()) < 0.01
    assert found.shared_W == pytest.approx(SLOWER, abs=0.02)


def test_without_a_calibration_the_larger_group_is_untouched():
    found = own_changes(changes(5, np.random.default_rng(0)), math.nan, reference=None)
    assert found.own_CW[:5].mean() == pytest.approx(SLOWER, abs=0.03)


def test_where_the_calibration_lies_between_two_groups_nobody_has_a_change():
    found = own_changes(changes(8, np.random.default_rng(0)), SLOWER / 2, reference=None)
    assert np.abs(found.own_CW).max() < 0.06


def test_victims_of_different_slow_downs_do_not_make_the_untouched_better():
    rng = np.random.default_rng(3)
    change_CW = changes(0, rng)
    change_CW[:10] -= np.linspace(0.05, 0.4, 10)[:, None]
    found = own_changes(change_CW, 0.0, reference=None)
    assert found.own_CW[10:].max() < 0.06


@pytest.mark.parametrize("num_victims", [0, 1, 5, 10])
def test_the_gate_names_all_victims_and_nobody_else(num_victims):
    rng = np.random.default_rng(num_victims)
    right = []
    for _ in range(40):
        old, new = (drawn(victims, rng) for victims in (0, num_victims))
        found = judge(_speeds(old, new, AXES))
        worse = {one.candidate for one in found if one.verdict is Verdict.WORSE}
        better = {one.candidate for one in found if one.verdict is Verdict.BETTER}
        right.append(worse == set(CANDIDATES[:num_victims]) and not better)
    assert np.mean(right) >= 0.9


def drawn(num_victims: int, rng: np.random.Generator) -> LogRounds:
    """A run of 24 rounds: a candidate differs by 1.3 % between two runs, the calibration by 1 %."""
    own_CW1 = (changes(0, rng) / math.sqrt(2))[:, :, None]
    own_CW1[:num_victims] += SLOWER
    machine = rng.normal(0, 0.05)
    rounds_CWR = -np.abs(rng.normal(0, 0.02, (15, 2, 24)))
    calibration_CWR = np.abs(rng.normal(0, 0.02, (15, 2, 24))) - machine + rng.normal(0, 0.007)
    return LogRounds(throughput_CWR=own_CW1 + machine + rounds_CWR, calibration_CWR=calibration_CWR)
