"""A cell that cannot be compared has a reason, never a number."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from compared_runs import TASK, compared, quality, speed
from comparison_run import (
    REFERENCE,
    edit_manifest,
    forget,
    measurements,
    samples,
    slow_down,
    timed,
)
from report_run import write_lines, write_samples

from melange.reports.analysis.comparison import Kind, Verdict
from melange.reports.analysis.run import load_run
from melange.reports.tables.comparison import comparison_table
from melange.reports.tables.comparison_markdown import comparison_markdown
from melange.reports.tables.files import to_csv


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


def test_other_prompts_are_another_version_of_a_task_whose_documents_are_unknown(pair):
    edit_manifest(pair[1], lambda m: m.update(task_rows={}))
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
    """Drops lines for which `change` returns False."""
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
    assert "cells of the baseline were not judged: the machine was restless" in comparison.sentence


def test_missing_samples_are_a_gap_and_never_a_number(pair):
    (pair[0] / "samples" / REFERENCE / f"{TASK}.parquet").unlink()
    found = quality(compared(pair))
    assert (found.value, found.verdict) == (None, Verdict.UNJUDGED)
    assert found.reason == "no samples were kept in the baseline"


def test_samples_of_another_attempt_are_refused(pair):
    write_samples(pair[1], REFERENCE, TASK, samples(pair[1], REFERENCE, TASK)[:-1])
    found = quality(compared(pair))
    assert (found.value, found.verdict) == (None, Verdict.LOST)
    assert "not trusted: recorded over 60 examples, but it has 59 samples" in found.reason


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
