"""The gate passes only if every cell of the baseline was judged, or waived: exit codes."""

import json
import random
import shutil
from pathlib import Path

import pytest
from command_line import run_here
from comparison_run import REFERENCE, edit_manifest, forget, samples, write_pair
from lacking_runs import (
    LOSSES,
    TASK,
    end_prompts_in_a_blank,
    lose_candidate,
    lose_samples,
)
from report_run import Shape, write_samples

from melange.commands.gate import Gate, verdict
from melange.reports.analysis.comparison import Comparison, compare
from melange.reports.analysis.comparison.waivers import read_waiver
from melange.reports.analysis.run import load_run
from melange.reports.tables.comparison_markdown import comparison_markdown

PASSED, REGRESSED, USAGE, MISSING = 0, 1, 2, 3


@pytest.fixture(scope="module")
def pair_once(tmp_path_factory) -> tuple[Path, Path]:
    shape = Shape(candidates=6, tasks=2, examples=40)
    old, new = write_pair(tmp_path_factory.mktemp("pair") / "runs", shape)
    for folder in (old, new):
        edit_manifest(folder, lambda m: m["suite"].update(name="smoke"))
    return old, new


@pytest.fixture
def pair(pair_once, tmp_path) -> tuple[Path, Path]:
    """A copy that a test may change."""
    shutil.copytree(pair_once[0].parent, tmp_path / "runs")
    return tmp_path / "runs" / "old", tmp_path / "runs" / "new"


def compared(pair: tuple[Path, Path], *waivers: str) -> Comparison:
    old, new = map(load_run, pair)
    return compare(old, new, [read_waiver(one) for one in waivers])


def exit_code(comparison: Comparison) -> int:
    return verdict(comparison, Gate(baseline=comparison.old, binding=True))


def gate(pair: tuple[Path, Path], *more: str):
    old, new = pair
    asked = ("--suite", "smoke", "--report-only", "--out", new, "--compare", old)
    return run_here(*asked, "--fail-on-regression", *more)


def test_two_runs_of_the_same_have_nothing_missing(pair_once):
    comparison = compared(pair_once)
    assert comparison.unjudged == []
    assert exit_code(comparison) == PASSED


@pytest.mark.parametrize("lose", LOSSES, ids=lambda one: one.__name__)
def test_evidence_that_is_missing_does_not_pass_and_is_named(pair, lose):
    lose(pair[1])
    comparison = compared(pair)
    assert comparison.regressions == []
    assert exit_code(comparison) == MISSING
    assert any(LOSSES[lose] in gap.reason for gap in comparison.unjudged)
    assert "of the baseline w" in comparison.sentence


def test_a_restless_machine_does_not_pass(pair):
    draw, path = random.Random(0), pair[1] / "rounds.jsonl"
    lines = [json.loads(line) for line in path.open()]
    for line in lines:
        line["wall_sec"] *= 1 + 3 * (draw.random() < 0.3)
        line["reference_wall_sec"] = None
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert exit_code(compared(pair)) == MISSING
    assert exit_code(compared(pair, "*:speed:the machine*")) == PASSED


def test_a_prompt_bug_is_judged_as_what_it_costs(pair):
    end_prompts_in_a_blank(pair[1])
    harmless = compared(pair)
    assert exit_code(harmless) == PASSED
    assert "prompts differ, though the task and its documents are the same" in harmless.sentence
    forget(pair[1], REFERENCE, TASK, 12)
    end_prompts_in_a_blank(pair[1])
    comparison = compared(pair)
    assert exit_code(comparison) == REGRESSED
    assert [one.title for one in comparison.regressions] == ["base on knowledge"]


def test_other_prompts_of_another_version_of_the_task_are_not_judged(pair):
    end_prompts_in_a_blank(pair[1])
    edit_manifest(pair[1], lambda m: m["task_rows"].update(knowledge="dddd"))
    reasons = {gap.reason for gap in compared(pair).unjudged}
    assert reasons == {"another version of the task: 40 of its prompts or targets differ"}


@pytest.mark.parametrize("num_clusters", [3, 6])
def test_clusters_too_few_to_ever_be_significant_are_no_evidence(pair, num_clusters):
    for folder in pair:
        rows = samples(folder, REFERENCE, TASK)
        clustered = [row | {"cluster": str(row["example"] % num_clusters)} for row in rows]
        write_samples(folder, REFERENCE, TASK, clustered)
    comparison = compared(pair)
    assert exit_code(comparison) == MISSING
    (gap,) = comparison.unjudged
    assert gap.reason.startswith(f"{num_clusters} clusters can never be significant: if all were")
    assert gap.where(3) == "base on knowledge"


def test_clusters_enough_to_be_significant_are_judged(pair):
    for folder in pair:
        rows = samples(folder, REFERENCE, TASK)
        clustered = [row | {"cluster": str(row["example"] % 12)} for row in rows]
        write_samples(folder, REFERENCE, TASK, clustered)
    assert exit_code(compared(pair)) == PASSED


def test_a_regression_comes_before_missing_evidence(pair):
    lose_samples(pair[1])
    forget(pair[1], "swa-averaging-1", TASK, 12)
    assert exit_code(compared(pair)) == REGRESSED


# --- waivers


def test_a_waiver_lets_what_it_names_pass_and_nothing_else(pair):
    lose_samples(pair[1])
    assert exit_code(compared(pair, "base:knowledge")) == PASSED
    assert exit_code(compared(pair, "b*:accuracy:no samples*")) == PASSED
    for other in ("base:speed", "ties*:knowledge", "base:knowledge:another recipe*"):
        comparison = compared(pair, other)
        assert exit_code(comparison) == MISSING
        assert f"nothing to waive for '{other}'" in comparison.sentence


def test_a_waiver_hides_no_regression(pair):
    forget(pair[1], REFERENCE, TASK, 12)
    comparison = compared(pair, "*:*")
    assert exit_code(comparison) == REGRESSED
    assert "1 regression against old" in comparison.sentence
    assert "nothing to waive for '*:*'" in comparison.sentence


def test_where_nothing_was_judged_no_waiver_helps(pair):
    edit_manifest(pair[1], lambda m: m.update(seed=5))
    comparison = compared(pair, "*:*")
    assert comparison.num_judged == 0
    assert exit_code(comparison) == MISSING


def test_a_waiver_is_recorded_with_the_comparison(pair):
    lose_samples(pair[1])
    refused, passed = gate(pair), gate(pair, "--waive", "base:accuracy")
    assert (refused.returncode, passed.returncode) == (MISSING, PASSED)
    assert "accept that it is with --waive" in refused.stdout.splitlines()[-1]
    assert "1 cell of the baseline waived by 'base:accuracy'" in passed.stdout
    report = pair[1] / "report"
    summary = (report / "summary.md").read_text()
    assert "| 1 | no samples were kept in this run | base on knowledge | base:accuracy |" in summary
    assert "<code>base:accuracy</code>" in (report / "compare.html").read_text()
    assert ",base:accuracy," in (report / "data" / "comparison.csv").read_text()
    noted = json.loads((pair[1] / "comparison.json").read_text())
    assert noted["waived"] == {"base:accuracy": 1}


def test_one_cause_is_one_line_of_the_summary(pair):
    lose_candidate(pair[1])
    table = comparison_markdown(compared(pair)).split("Not judged, though")[1]
    (line,) = [one for one in table.splitlines() if "does not have the candidate" in one]
    assert "| base (" in line


@pytest.mark.parametrize("wrong", ["base", "base:", ":speed", "base:speed:"])
def test_a_waiver_that_lacks_a_part_is_a_mistake_of_the_call(pair, wrong):
    done = gate(pair, "--waive", wrong)
    assert done.returncode == USAGE
    assert "is not CANDIDATE:SUBJECT" in done.stderr
    assert run_here("--waive", "*:speed").returncode == USAGE
