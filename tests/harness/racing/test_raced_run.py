"""`--race`: candidates that are behind are asked fewer examples, and the board says so."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run_here

from melange.reports.analysis.run import Run, load_run

SUITE = """\
title: Race
tasks: {pocket: [pocket_knowledge, pocket_knowledge_tuning]}
candidates: [{method: checkpoint, roles: [small_base, large_mix]}]
"""
TASKS = ("pocket_knowledge", "pocket_knowledge_tuning")
LIMIT = 120


@pytest.mark.slow
def test_a_race_asks_less_and_a_run_without_it_asks_the_rest(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    out = tmp_path / "run"
    options = ("--suite", tmp_path / "suite.yaml", "--zoo", "pocket", "--limit", LIMIT,
               "--check", 2, "--out", out)  # fmt: skip
    done = run_here(*options, "--race", 1)
    assert done.returncode == 0, done.stderr
    raced = load_run(out)
    assert raced.stopped.keys() == {"small_base"}
    assert all(stop.behind == ("large_mix",) for stop in raced.stopped.values())
    assert lines_of(out, "large_mix") == dict.fromkeys(TASKS, LIMIT)
    assert all(0 < n < LIMIT for n in lines_of(out, "small_base").values())
    assert raced.manifest.race["top"] == 1
    assert {one.candidate for one in raced.checks} == {"small_base", "large_mix"}
    page, summary = (out / "report" / name for name in ("index.html", "summary.md"))
    assert page.read_text().count("stopped at") >= 1
    assert "A race stopped 1 of 2 candidates" in summary.read_text()

    again = run_here(*options, "--race", 1)
    assert "everything is measured" in again.stdout

    before = {task: scores_of(raced, "small_base", task) for task in TASKS}
    whole = run_here(*options)
    assert whole.returncode == 0, whole.stderr
    run = load_run(out)
    assert run.stopped == {}
    assert lines_of(out, "small_base") == dict.fromkeys(TASKS, LIMIT)
    for task, asked in before.items():
        assert scores_of(run, "small_base", task).items() >= asked.items()


def lines_of(folder: Path, candidate: str) -> dict[str, Any]:
    """n of each task's latest exact match or accuracy."""
    lines = [json.loads(line) for line in (folder / "measurements.jsonl").open()]
    return {one["task"]: one["n"] for one in lines if one["candidate"] == candidate and one["task"]}


def scores_of(run: Run, candidate: str, task: str) -> dict[int, float]:
    found = run.scores(candidate, task)
    assert found is not None
    assert np.all(np.diff(found.examples_N) > 0)
    return dict(zip(found.examples_N.tolist(), found.values_N.tolist(), strict=True))
