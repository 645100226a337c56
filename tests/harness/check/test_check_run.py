"""Self-checks of whole runs: one with a fault in its build, then the same without it."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from command_line import run_here
from places import ROOT

from melange.harness.records import Outcome
from melange.harness.runs.current import current
from melange.harness.runs.writer import RunFolder
from melange.harness.verdicts import Verdict, tally
from melange.reports.analysis.checks import run_sentence
from melange.reports.analysis.run import load_run
from melange.reports.view import RunView

pytestmark = pytest.mark.slow

TASKS = ("pocket_mc_trade", "pocket_knowledge")
SUITE = f"""\
title: Test
reference: large_base
tasks: {{pocket: [{", ".join(TASKS)}]}}
candidates:
  - {{method: checkpoint, roles: [large_base]}}
  - {{mergekit: soup-linear, base: largest}}
"""
FAULTY = """\
import json, sys
import run_all
from melange.harness import runner

build = runner.prepare

def with_a_wrong_coefficient(candidate, *rest, **more):
    wrong = json.loads(candidate.model_dump_json())
    for model in wrong["recipe"]["options"].get("config", {}).get("models", [])[:1]:
        model["parameters"]["weight"] *= 1.05
    return build(candidate.model_validate(wrong), *rest, **more)._replace(candidate=candidate)

if __name__ == "__main__":
    runner.prepare = with_a_wrong_coefficient
    sys.exit(run_all.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checked")
    (folder / "suite.yaml").write_text(SUITE)
    (folder / "faulty.py").write_text(FAULTY)
    return folder


def options(folder: Path) -> Sequence[str]:
    named = ("--suite", str(folder / "suite.yaml"), "--zoo", "pocket")
    return (*named, "--out", str(folder / "out"), "--limit", "16")


def start(folder: Path, script: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), *options(folder)],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def faulty(workplace: Path) -> subprocess.CompletedProcess[str]:
    return start(workplace, workplace / "faulty.py")


def test_a_cell_that_disagrees_is_disputed_and_ends_the_run_with_3(
    faulty: subprocess.CompletedProcess[str], workplace: Path
) -> None:
    assert faulty.returncode == 3, faulty.stderr
    folder = RunFolder(workplace / "out")
    latest = {one.cell: one for one in current(folder.measurements()) if one.task}
    outcomes = {cell: one.outcome for cell, one in latest.items()}
    assert outcomes["large_base", TASKS[0]] is outcomes["large_base", TASKS[1]]
    assert outcomes["large_base", TASKS[0]] is Outcome.COMPLETED
    disputed = latest["soup-linear", TASKS[0]]
    assert disputed.outcome is Outcome.DISPUTED
    assert disputed.value is None
    assert "nats, transformers" in disputed.reason
    assert f"soup-linear: {TASKS[0]}: disputed" in faulty.stdout
    assert len([one for one in folder.checks() if one.candidate == "large_base"]) == 16


def test_a_disputed_cell_has_no_rank_and_both_answers_on_the_page(
    faulty: subprocess.CompletedProcess[str], workplace: Path
) -> None:
    report = RunView(load_run(workplace / "out"))
    assert report.evidence.ranked == ["large_base"]
    page = (workplace / "out" / "report" / "index.html").read_text()
    check = next(one for one in report.run.checks if one.verdict is Verdict.DISPUTED)
    assert all(text in page for text in (check.ours, check.theirs, "gap-disputed"))
    assert run_sentence(report.run) in page
    lines = [one for one in report.run.checks if one.candidate == "large_base"]
    assert report.run.manifest.checks["candidates"]["large_base"] == tally(lines).sentence
    assert tally(lines).sentence.startswith("checked: 16 of 16, worst ")


def test_the_same_command_measures_what_is_disputed_again_and_checks_it_again(
    faulty: subprocess.CompletedProcess[str], workplace: Path
) -> None:
    before = RunFolder(workplace / "out").checks()
    done = start(workplace, ROOT / "run_all.py")
    assert done.returncode == 0, done.stderr
    after = RunFolder(workplace / "out").checks()
    assert not [one for one in after if one.verdict is Verdict.DISPUTED]
    lines = [json.loads(line) for line in (workplace / "out" / "checks.jsonl").open()]
    of_base = [one for one in lines if one["candidate"] == "large_base"]
    assert len(of_base) == len([one for one in before if one.candidate == "large_base"])
    again = run_here(*options(workplace))
    assert again.stdout.startswith("everything is measured")
