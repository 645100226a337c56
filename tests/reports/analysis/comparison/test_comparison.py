"""Two runs against each other: what is planted is found, what is noise is not, what does not
belong together is refused with the reason."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparison_run import (
    REFERENCE,
    edit_manifest,
    forget,
    measurements,
    samples,
    slow_down,
    timed,
    write_pair,
)
from hypothesis import given
from hypothesis import strategies as st
from report_run import write_lines, write_samples

from melange.harness.stats import holm
from melange.reports.analysis.comparison import Change, Comparison, Kind, Verdict, compare
from melange.reports.analysis.comparison.noise import Estimate, LogRounds, estimate
from melange.reports.analysis.comparison.verdict import corrected, smallest_slowdown
from melange.reports.analysis.run import load_run
from melange.reports.tables.comparison import comparison_table
from melange.reports.tables.comparison_markdown import comparison_markdown
from melange.reports.tables.files import to_csv

TASK = "knowledge"
p_values = st.lists(st.floats(1e-12, 1), min_size=1, max_size=30)


@pytest.fixture(scope="module")
def pair_once(tmp_path_factory) -> tuple[Path, Path]:
    return write_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture
def pair(pair_once, tmp_path) -> tuple[Path, Path]:
    """A copy that a test may spoil."""
    shutil.copytree(pair_once[0].parent, tmp_path / "runs")
    return tmp_path / "runs" / "old", tmp_path / "runs" / "new"


def compared(pair: tuple[Path, Path]) -> Comparison:
    return compare(load_run(pair[0]), load_run(pair[1]))


def quality(comparison: Comparison, candidate: str = REFERENCE, task: str = TASK) -> Change:
    return next(
        one
        for one in comparison.of(Kind.QUALITY)
        if (one.candidate, one.subject) == (candidate, task)
    )


def speed(comparison: Comparison, candidate: str, workload: str = "") -> Change:
    return next(
        one
        for one in comparison.of(Kind.SPEED, Kind.WORKLOAD)
        if (one.candidate, one.subject) == (candidate, workload)
    )


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
              if one.kind is not Kind.QUALITY and one.value is not None]  # fmt: skip
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
            turned = -one.value if one.kind is Kind.QUALITY else 1 / one.value
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
    """A slower machine leaves each candidate's own change as it was."""
    log_CWR = np.array(rows).reshape(len(rows), 2, 3)
    calibration_CWR = np.zeros_like(log_CWR)
    here = LogRounds(throughput_CWR=log_CWR, calibration_CWR=calibration_CWR)
    slower = LogRounds(throughput_CWR=log_CWR - drift, calibration_CWR=calibration_CWR + drift)
    again = estimate(here, slower, reference=0)
    assert all(abs(one.value) < 1e-9 for one in again.cells.values())
    assert again.engine is not None
    assert again.engine.value == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("num_candidates", [11, 41])
def test_a_candidates_p_is_as_rare_as_it_says(num_candidates):
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(9000 // num_candidates):
        change_C = rng.normal(0, 2, num_candidates)  # the tolerance is nothing beside it
        old_CWR = np.zeros((num_candidates, 1, 2))
        old, new = (
            LogRounds(throughput_CWR=log_CWR, calibration_CWR=np.zeros_like(old_CWR))
            for log_CWR in (old_CWR, old_CWR + change_C[:, None, None])
        )
        p_values += [one.p_value for one in estimate(old, new, None).candidates.values()]
    for alpha in (0.002, 0.01):
        assert np.mean(np.array(p_values) < alpha) == pytest.approx(2 * alpha, rel=0.35)


# --- what is planted is found


def test_a_drop_is_found_with_the_examples_that_flipped(pair):
    flipped = forget(pair[1], REFERENCE, TASK, 20)
    comparison = compared(pair)
    (found,) = comparison.regressions
    assert (found.candidate, found.subject) == (REFERENCE, TASK)
    assert found.lost == tuple(flipped)
    assert found.won == ()
    assert found.value == pytest.approx(-20 / 60)
    assert found.low < found.value < found.high < 0
    assert found.adjusted_p == pytest.approx(4 * 2 * 0.5**20)
    assert "base on knowledge (−33.3 points)" in comparison.sentence


def test_a_rise_of_misses_is_a_regression(pair):
    """Where lower is better, a lower score is the improvement."""
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


# --- what cannot be compared


def role_of(manifest: dict[str, Any]) -> str:
    """The reference candidate's only checkpoint."""
    recipe = next(one["recipe"] for one in manifest["candidates"] if one["name"] == REFERENCE)
    (role,) = recipe["inputs"]
    return str(role)


def fingerprint(manifest: dict[str, Any]) -> None:
    manifest["zoo"]["fingerprints"][role_of(manifest)] = "other"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (fingerprint, "_base is other, was"),
        (lambda m: m.update(seed=7), "another seed: 7, was 0"),
        (lambda m: m.update(limit=10), "another limit of examples: 10, was 60"),
        (lambda m: m["task_definitions"].update(knowledge="bbbb"),
         "another version of the task: its definition is bbbb, was aaaa"),
        (lambda m: m["tasks"][0].update(num_fewshot=5), "another task: another num fewshot: 5"),
        (lambda m: m["candidates"][0]["recipe"].update(inputs=["small_math"]), "another recipe"),
        (lambda m: m["zoo"]["fingerprints"].pop(role_of(m)),
         "this run does not record which checkpoint"),
        (lambda m: m["candidates"].pop(0), "this run does not describe the candidate"),
    ],
)  # fmt: skip
def test_a_cell_of_other_things_is_refused_with_the_reason(pair, change, reason):
    forget(pair[1], REFERENCE, TASK, 20)
    edit_manifest(pair[1], change)
    found = quality(compared(pair))
    assert found.verdict is Verdict.UNJUDGED
    assert found.value is None
    assert reason in found.reason


def test_another_checkpoint_refuses_only_the_candidates_that_use_it(pair):
    edit_manifest(pair[1], fingerprint)
    comparison = compared(pair)
    refused = {one.candidate for one in comparison.changes if "another checkpoint" in one.reason}
    manifest = load_run(pair[1]).manifest
    role = role_of(json.loads(manifest.model_dump_json()))
    users = {one.name for one in manifest.candidates if role in one.recipe.inputs}
    assert refused
    assert refused <= users
    assert comparison.num_judged > 0


def test_other_prompts_are_another_version_of_the_task(pair):
    rows = samples(pair[1], REFERENCE, TASK)
    rows[3]["prompt"] += " please"
    write_samples(pair[1], REFERENCE, TASK, rows)
    found = quality(compared(pair))
    assert found.reason == "another version of the task: 1 of its prompts or targets differ"


@pytest.mark.parametrize("change", [{"cpu": "another"}, {"cores": 64}, {"gpu": "H100"}])
def test_other_hardware_leaves_speeds_and_peaks_unjudged_and_accuracy_judged(pair, change):
    edit_manifest(pair[1], lambda m: m["hardware"].update(change))
    comparison = compared(pair)
    assert comparison.of(Kind.SPEED) == []
    assert all(one.value is None for one in comparison.of(Kind.WORKLOAD))
    assert comparison.of(Kind.ENGINE) == []
    assert quality(comparison).verdict is Verdict.ALIKE
    peaks = [one for one in comparison.of(Kind.MEMORY) if one.subject == "peak_memory_bytes"]
    assert all(next(iter(change)) in one.reason for one in peaks)


def test_a_run_without_rounds_shows_its_speeds_and_judges_none(pair):
    (pair[0] / "rounds.jsonl").unlink()
    comparison = compared(pair)
    shown = speed(comparison, REFERENCE, "8/8")
    assert shown.old.value == shown.new.value
    assert shown.value is None
    assert shown.reason.startswith("the baseline: it did not keep the time of each round")


def edit_rounds(folder: Path, change: Callable[[dict[str, Any]], bool | None]) -> None:
    """Lines for which `change` returns False are dropped."""
    path = folder / "rounds.jsonl"
    lines = [json.loads(line) for line in path.open()]
    kept = [line for line in lines if change(line) is not False]
    path.write_text("".join(json.dumps(line) + "\n" for line in kept))


def test_one_round_is_too_few(pair):
    edit_rounds(pair[1], lambda line: line["round"] == 0)
    comparison = compared(pair)
    assert speed(comparison, REFERENCE, "8/8").reason == (
        "this run: timed in one round, so its noise is unknown"
    )
    assert comparison.of(Kind.ENGINE) == []


def test_a_cell_of_which_half_of_the_rounds_are_gone_is_a_gap(pair):
    edit_rounds(
        pair[1],
        lambda line: not (line["candidate"] == REFERENCE and line["workload"] == "8/8"
                          and line["round"] % 2),
    )  # fmt: skip
    found = speed(compared(pair), REFERENCE, "8/8")
    assert found.value is None
    assert found.reason == "only its even or only its odd rounds were kept: its noise is unknown"


def test_a_run_of_fewer_rounds_is_compared_with_all_rounds_of_the_other(pair):
    edit_rounds(pair[0], lambda line: line["round"] < 4)
    assert speed(compared(pair), REFERENCE, "8/8").verdict is Verdict.ALIKE
    slow_down(pair[1], 2, timed(pair[1])[1])
    assert {one.candidate for one in compared(pair).regressions} == {timed(pair[1])[1]}


def test_a_candidate_that_was_timed_in_another_sitting_is_not_judged(pair):
    late = timed(pair[1])[2]
    edit_rounds(
        pair[1],
        lambda line: line.update(reference_wall_sec=9.9) if line["candidate"] == late else None,
    )
    comparison = compared(pair)
    assert "another sitting" in speed(comparison, late, "8/8").reason
    assert speed(comparison, REFERENCE, "8/8").verdict is Verdict.ALIKE


def test_a_restless_machine_judges_no_speed(pair):
    draw = random.Random(0)

    def disturb(line: dict[str, Any]) -> None:
        line["wall_sec"] *= 1 + 3 * (draw.random() < 0.3)
        line["reference_wall_sec"] = None

    edit_rounds(pair[1], disturb)
    slow_down(pair[1], 5, timed(pair[1])[1])
    comparison = compared(pair)
    assert comparison.of(Kind.SPEED, Kind.ENGINE) == comparison.regressions == []
    assert "the machine was restless in this run" in speed(comparison, REFERENCE, "8/8").reason
    assert "no speed was judged: the machine was restless" in comparison.sentence


def test_missing_samples_are_a_gap_and_never_a_number(pair):
    (pair[0] / "samples" / REFERENCE / f"{TASK}.parquet").unlink()
    found = quality(compared(pair))
    assert (found.value, found.verdict) == (None, Verdict.UNJUDGED)
    assert found.reason == "no samples were kept in the baseline"


def test_samples_of_another_attempt_are_refused(pair):
    write_samples(pair[1], REFERENCE, TASK, samples(pair[1], REFERENCE, TASK)[:-1])
    assert quality(compared(pair)).reason == "this run recorded 60 examples and kept 59 samples"


def test_broken_samples_cost_their_own_cell_only(pair):
    (pair[0] / "samples" / REFERENCE / f"{TASK}.parquet").write_bytes(b"PAR1")
    comparison = compared(pair)
    assert "cannot be read" in quality(comparison).reason
    assert comparison.num_judged > 100


def test_a_cell_that_fails_now_is_lost(pair):
    lines = measurements(pair[1])
    for line in lines:
        if line["candidate"] == REFERENCE and line.get("task") == TASK:
            line |= {"value": None, "outcome": "failed", "reason": "the engine died"}
    write_lines(pair[1], lines)
    comparison = compared(pair)
    assert [one.title for one in comparison.lost] == ["base on knowledge"]
    assert "1 cell of the baseline failed here (base on knowledge)" in comparison.sentence


def test_an_empty_run_has_gaps_and_no_verdict(pair):
    write_lines(pair[1], [])
    comparison = compared(pair)
    assert comparison.num_judged == 0
    assert comparison.sentence.startswith("Nothing could be compared with old: ")
    assert all(one.reason for one in comparison.changes)


def test_the_environment_names_what_differs_and_nothing_else(pair):
    edit_manifest(pair[1], lambda m: m["versions"].update(vllm="0.12.0"))
    edit_manifest(pair[1], lambda m: m.update(git_revision="fedc"))
    named = {one.what: (one.old, one.new) for one in compared(pair).differences}
    assert named == {"version of vllm": ("0.11.0", "0.12.0"), "git revision": ("0123abcd", "fedc")}


def test_the_table_has_every_change(pair_once):
    comparison = compared(pair_once)
    _, *lines = to_csv(comparison_table(comparison)).splitlines()
    assert len(lines) == len(comparison.changes)
    assert sum(",alike," in line for line in lines) == comparison.num_judged


def test_markdown_shows_names_as_text(pair):
    forget(pair[1], REFERENCE, TASK, 20)
    for folder in pair:
        text = (folder / "manifest.json").read_text()
        (folder / "manifest.json").write_text(text.replace('"knowledge"', '"<b>|x"'))
        text = (folder / "measurements.jsonl").read_text()
        (folder / "measurements.jsonl").write_text(text.replace('"knowledge"', '"<b>|x"'))
        path = folder / "samples" / REFERENCE / f"{TASK}.parquet"
        path.rename(path.with_name("<b>|x.parquet"))
    text = comparison_markdown(compared(pair))
    assert "| base on &lt;b>\\|x | −33.3 points |" in text
    assert "<b>" not in text
