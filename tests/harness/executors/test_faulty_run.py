"""The run goes on if an engine raises in a step, never answers, or does not start."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from faulty_run import HANGS, RAISES, VARIABLE
from places import DATA, ROOT
from safetensors.torch import load_file, save_file

from melange.harness.records import Measurement, Outcome
from melange.harness.runs.writer import RunFolder

pytestmark = pytest.mark.slow

SILENCE_SEC = 8
"""Seconds; enough to read a task's rows on a busy machine."""
MARKS = {"raises": RAISES, "hangs": HANGS}
STUCK = ("stuck", "stuck_too", "stuck_as_well")
SUITE = f"""\
title: Test
reference: large_base
tasks: {{public: [arc_easy]}}
candidates:
  - {{method: checkpoint, roles: [{", ".join((*MARKS, "large_base", *STUCK))}]}}
rounds: 1
limit: 2
workloads: [{{name: 8/8, prompt_tokens: 8, output_tokens: 8, num_requests: 2}}]
"""


@pytest.fixture(scope="module")
def run(
    zoo_folders: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[subprocess.CompletedProcess[str], RunFolder]:
    folder = tmp_path_factory.mktemp("faulty")
    roles = {"large_base": zoo_folders["large_base"]}
    for name, mark in MARKS.items():
        roles[name] = shutil.copytree(zoo_folders["large_base"], folder / name)
        tensors = load_file(roles[name] / "model.safetensors")
        tensors["model.norm.weight"][0] = mark
        save_file(tensors, roles[name] / "model.safetensors", metadata={"format": "pt"})
    for name in STUCK:
        roles[name] = shutil.copytree(zoo_folders["small_base"], folder / name)
        config = json.loads((roles[name] / "config.json").read_text())
        (roles[name] / "config.json").write_text(json.dumps(config | {"fault": "start"}))
    zoo = {"kind": "public", "scale": "public", "name": "faulty"}
    zoo["roles"] = {name: {"model": str(path)} for name, path in roles.items()}
    (folder / "zoo.yaml").write_text(json.dumps(zoo))
    (folder / "suite.yaml").write_text(SUITE)
    command = [sys.executable, "tests/support/faulty_run.py", "--no-check"]
    command += ["--suite", str(folder / "suite.yaml"), "--zoo", str(folder / "zoo.yaml")]
    command += ["--out", str(folder / "out")]
    paths = f"{ROOT}:{ROOT / 'tests' / 'support'}"
    given = {"PYTHONPATH": paths, "MELANGE_SILENCE_SEC": str(SILENCE_SEC), VARIABLE: "1"}
    given["MELANGE_DATA"] = str(DATA / "public")
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=os.environ | given, check=False
    )
    return done, RunFolder(folder / "out")


def failures(folder: RunFolder, candidate: str) -> dict[str, str]:
    """Task or metric -> reason."""
    mine = [one for one in folder.measurements() if one.candidate == candidate]
    assert all(one.outcome is Outcome.FAILED for one in mine)
    return {one.task or one.metric: one.reason for one in mine}


def test_the_rest_of_the_run_is_complete(run) -> None:
    done, folder = run
    assert done.returncode == 3, done.stderr
    good = [one for one in folder.measurements() if one.candidate == "large_base"]
    assert all(one.outcome is Outcome.COMPLETED for one in good)
    assert {"acc", "decode_tokens_per_sec"} <= {one.metric for one in good}


def test_a_step_that_raises_costs_its_candidate_alone(run) -> None:
    reasons = failures(run[1], "raises")
    assert set(reasons) == {"arc_easy", "throughput"}
    said = "IndexError: the planted fault says: no row 23 in a table of 23 rows"
    assert reasons["arc_easy"] == said


def test_an_engine_that_never_answers_is_ended_and_tells_where_it_was(run) -> None:
    reasons = failures(run[1], "hangs")
    assert set(reasons) == {"arc_easy", "throughput"}
    assert f"no sign of life for {SILENCE_SEC} s" in reasons["arc_easy"]
    assert 'faulty_run.py", line' in reasons["arc_easy"]
    assert "in break_at" in reasons["arc_easy"]
    assert "in faulty_forward" in (run[1].path / "engine.log").read_text()


def test_an_engine_that_does_not_start_for_two_candidates_is_not_started_for_a_third(run) -> None:
    said = "ValueError: the planted fault says: no row 23 in a table of 23 rows"
    found: list[Measurement] = run[1].measurements()
    log = (run[1].path / "engine.log").read_text()
    assert {one.candidate for one in found if one.reason == said} == {"stuck", "stuck_too"}
    third = failures(run[1], "stuck_as_well")
    assert set(third) == {"arc_easy", "throughput"}
    why = f"not tried, since its engine serves none of stuck, stuck_too: {said}"
    assert set(third.values()) == {why}
    assert log.count("ValueError: the planted fault") == 2
