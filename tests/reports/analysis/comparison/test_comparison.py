"""Comparisons of two runs find planted changes, raise no alarm on noise, and refuse what is not
comparable, with the reason."""

import json

import numpy as np
import pytest
from compared_runs import TASK, compared, speed
from comparison_run import (
    REFERENCE,
    edit_manifest,
    forget,
    measurements,
    slow_down,
    timed,
)
from hypothesis import given
from hypothesis import strategies as st
from report_run import write_lines

from melange.harness.stats import holm
from melange.reports.analysis.comparison import Kind, Verdict, compare
from melange.reports.analysis.comparison.changes import QUALITIES
from melange.reports.analysis.comparison.judging import SHARES, corrected, smallest_slowdown
from melange.reports.analysis.comparison.noise import Estimate, LogRounds, estimate
from melange.reports.analysis.run import load_run
from melange.reports.tables.comparison_markdown import comparison_markdown

p_values = st.lists(st.floats(1e-12, 1), min_size=1, max_size=30)


# --- laws


@pytest.mark.parametrize("power", [0.5, 0.9])
def test_the_smallest_slow_down_is_seen_as_often_as_it_says(power):
    noise, alpha = 0.02, 0.001
    known = Estimate(value=0.0, noise=noise, tolerance=0.03, degrees=1e6)
    change = np.log1p(known.smallest_slowdown(alpha, power))
    draws = np.random.default_rng(0).normal(-change, noise, 4000)
    seen = [
        Estimate(value=value, noise=noise, tolerance=0.03, degrees=1e6).p_value <= alpha
        for value in draws
    ]
    assert np.mean(seen) == pytest.approx(power, abs=0.02)


def test_a_comparison_says_what_slow_downs_it_could_see(pair_once):
    comparison = compared(pair_once)
    one, all_ = (smallest_slowdown(comparison.changes, k) for k in (Kind.SPEED, Kind.ENGINE))
    assert one is not None
    assert all_ is not None
    assert 0.03 < one < 1
    assert 0.05 < all_ < 1
    assert f"{100 * one:.1f} % longer, or all of them" in comparison.sight
    assert comparison.sight in comparison_markdown(comparison)


def test_a_run_compared_with_itself_has_no_difference(pair_once):
    run = load_run(pair_once[0])
    comparison = compare(run, run)
    assert comparison.num_judged > 100
    assert {one.verdict for one in comparison.changes if not one.reason} == {Verdict.ALIKE}
    assert {one.value for one in comparison.of(Kind.QUALITY) if not one.reason} == {0.0}
    ratios = [one.value for one in comparison.changes
              if one.kind not in QUALITIES and one.value is not None]  # fmt: skip
    assert ratios == pytest.approx([1.0] * len(ratios))
    assert comparison.differences == ()


def test_runs_that_differ_in_noise_only_have_no_regression(pair_once):
    comparison = compared(pair_once)
    assert comparison.regressions == comparison.improvements == comparison.lost == []
    assert comparison.sentence.startswith("No regression against old")


def test_swapping_the_runs_swaps_signs_and_verdicts(pair):
    forget(pair[1], REFERENCE, TASK, 20)
    slow_down(pair[1], 1.3, timed(pair[1])[1])
    there, back = compared(pair), compared((pair[1], pair[0]))
    swapped = {Verdict.WORSE: Verdict.BETTER, Verdict.BETTER: Verdict.WORSE}
    backwards = {(one.kind, one.candidate, one.subject): one for one in back.changes}
    for one in there.changes:
        other = backwards[one.kind, one.candidate, one.subject]
        assert other.verdict == swapped.get(one.verdict, one.verdict)
        assert other.p_value == pytest.approx(one.p_value)
        assert (other.lost, other.won) == (one.won, one.lost)
        if one.value is not None:
            turned = -one.value if one.kind in QUALITIES else 1 / one.value
            assert other.value == pytest.approx(turned)
    assert len(there.regressions) == len(back.improvements) >= 2


@given(p_values)
def test_without_knowledge_of_the_smallest_p_the_correction_is_holms(values):
    assert corrected(values, [0.0] * len(values)) == pytest.approx(holm(values))


@given(st.lists(st.tuples(st.floats(1e-9, 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_the_correction_lies_between_none_and_holms(pairs):
    smallest = [min(pair) for pair in pairs]
    values = [max(pair) for pair in pairs]
    for raw, adjusted, most in zip(values, corrected(values, smallest), holm(values), strict=True):
        assert raw <= adjusted <= most + 1e-12


def test_cells_that_could_not_have_been_so_sure_do_not_count():
    assert corrected([1e-3, 1.0, 1.0], [0.0, 0.5, 1.0])[0] == 1e-3
    assert corrected([1e-3, 1.0, 1.0], [0.0, 1e-4, 1.0])[0] == 2e-3


@given(
    rows=st.lists(st.lists(st.floats(-0.3, 0.3), min_size=6, max_size=6), min_size=5, max_size=15),
    drift=st.floats(-2, 2),
)
def test_what_all_candidates_share_is_no_ones_change(rows, drift):
    """A slower machine does not affect the change of any one candidate."""
    log_CWR = np.array(rows).reshape(len(rows), 2, 3)
    calibration_CWR = np.zeros_like(log_CWR)
    here = LogRounds(throughput_CWR=log_CWR, calibration_CWR=calibration_CWR)
    slower = LogRounds(throughput_CWR=log_CWR - drift, calibration_CWR=calibration_CWR + drift)
    again = estimate(here, slower, reference=0, tolerance=0.03)
    assert all(abs(one.value) < 1e-9 for one in again.cells.values())
    assert again.engine is not None
    assert again.engine.value == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("num_candidates", [8, 11, 41])
def test_a_candidates_p_is_as_rare_as_it_says(num_candidates):
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(9000 // num_candidates):
        change_C = rng.normal(0, 2, num_candidates)  # far above the tolerance
        old_CWR = np.zeros((num_candidates, 1, 2))
        old, new = (
            LogRounds(throughput_CWR=log_CWR, calibration_CWR=np.full_like(old_CWR, np.nan))
            for log_CWR in (old_CWR, old_CWR + change_C[:, None, None])
        )
        found = estimate(old, new, None, tolerance=0.03).candidates
        p_values += [one.p_value for one in found.values()]
    for alpha in (0.002, 0.01):
        assert np.mean(np.array(p_values) < alpha) == pytest.approx(2 * alpha, rel=0.35)


# --- planted changes


def test_a_drop_is_found_with_the_examples_that_flipped(pair):
    flipped = forget(pair[1], REFERENCE, TASK, 20)
    comparison = compared(pair)
    (found,) = comparison.regressions
    assert (found.candidate, found.subject) == (REFERENCE, TASK)
    assert found.lost == tuple(flipped)
    assert found.won == ()
    assert found.value == pytest.approx(-20 / 60)
    assert found.low < found.value < found.high < 0
    assert found.adjusted_p == pytest.approx(2 * 0.5**20 / SHARES[Kind.QUALITY])
    assert "base on knowledge (−33.3 points)" in comparison.sentence


def test_a_rise_of_misses_is_a_regression(pair):
    """For a metric where lower is better, a lower score is an improvement."""
    for folder in pair:
        edit_manifest(folder, lambda m: m["tasks"][0].update(higher_is_better=False))
    forget(pair[1], REFERENCE, TASK, 20)
    comparison = compared(pair)
    assert [one.title for one in comparison.improvements] == ["base on knowledge"]
    assert comparison.regressions == []


def test_one_slow_candidate_is_named_and_no_other(pair):
    slow = timed(pair[1])[3]
    slow_down(pair[1], 1.25, slow)
    comparison = compared(pair)
    assert {one.candidate for one in comparison.regressions} == {slow}
    assert comparison.improvements == []
    assert speed(comparison, slow).value == pytest.approx(1 / 1.25, rel=0.05)


def test_a_slow_reference_is_named_and_not_taken_for_the_others_speed(pair):
    slow_down(pair[1], 1.25, REFERENCE)
    comparison = compared(pair)
    assert {one.candidate for one in comparison.regressions} == {REFERENCE}
    assert comparison.improvements == []


def test_a_slow_engine_shows_against_the_calibration(pair):
    slow_down(pair[1], 1.25)
    (found,) = compared(pair).regressions
    assert found.kind is Kind.ENGINE
    assert found.value == pytest.approx(1 / 1.25, rel=0.05)


def test_a_slow_machine_is_no_regression(pair):
    path = pair[1] / "rounds.jsonl"
    lines = [json.loads(line) for line in path.open()]
    for line in lines:
        for key in ("wall_sec", "reference_wall_sec", "calibration_sec"):
            line[key] *= 1.5
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert compared(pair).regressions == []


def test_weights_may_not_grow_at_all_and_peaks_a_little(pair):
    lines = measurements(pair[1])
    for line in lines:
        if line["candidate"] == REFERENCE and line["metric"] in ("weights_bytes", "build_sec"):
            line["value"] *= 1.001
        if line["candidate"] == REFERENCE and line["metric"] == "peak_memory_bytes":
            line["value"] *= 1.05
    write_lines(pair[1], lines)
    (found,) = compared(pair).regressions
    assert (found.candidate, found.subject) == (REFERENCE, "weights_bytes")


def test_what_a_candidate_needs_may_grow_by_a_hundredth_at_the_same_load(pair):
    def grown(factor: float) -> list[str]:
        lines = measurements(pair[0])
        for line in lines:
            if line["candidate"] == REFERENCE and line["metric"] == "needed_memory_bytes":
                line["value"] *= factor
        write_lines(pair[1], lines)
        return [found.subject for found in compared(pair).regressions]

    assert grown(1.005) == []
    assert grown(1.05) == ["needed_memory_bytes"]
    edit_manifest(pair[1], lambda m: m["workloads"][0].update(num_requests=512))
    assert "needed_memory_bytes" not in grown(1.05)
    needs = [one for one in compared(pair).of(Kind.MEMORY) if one.subject == "needed_memory_bytes"]
    assert {one.reason for one in needs} == {"another load: the heaviest workload is another one"}
