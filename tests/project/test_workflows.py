"""Workflow files are valid, have few permissions, and use existing targets and options."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from places import ROOT

from melange.cli import parse
from melange.harness.suite import find_suite, read_suite

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
NIGHTLY = [path for path in FILES if path.stem.startswith("nightly")]


def read(path: Path) -> dict[Any, Any]:
    content = yaml.safe_load(path.read_text())
    assert isinstance(content, dict)
    return content


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


def commands(path: Path) -> list[str]:
    return [line for step in steps(path) for line in step.get("run", "").splitlines()]


def make_targets(line: str) -> list[str]:
    """Targets of a `make` command: words that are neither variables nor options."""
    words = re.sub(r'"[^"]*"', "", line).split()
    return [word for word in words[1:] if "=" not in word and not word.startswith("-")]


def dry_run(*arguments: str) -> str:
    return subprocess.run(
        ["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def test_there_is_one_for_a_plain_runner_one_for_a_gpu_and_one_for_changes() -> None:
    assert [path.stem for path in FILES] == ["ci", "nightly-gpu", "nightly"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_and_ends(path: Path) -> None:
    content = read(path)
    assert content["permissions"] == {"contents": "read"}
    for job in content["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 480


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_make_knows_every_target(path: Path) -> None:
    for line in commands(path):
        if line.startswith("make "):
            assert make_targets(line), line
            dry_run("ACCELERATOR=gpu", *make_targets(line))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shell_can_read_every_command(path: Path) -> None:
    for step in steps(path):
        if "run" in step:
            subprocess.run(["bash", "-n", "-c", step["run"]], check=True)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_command_has_an_expression_in_it(path: Path) -> None:
    """Values from a repository's settings are environment variables, never parts of commands."""
    assert not [line for line in commands(path) if "${{" in line]


@pytest.mark.parametrize("path", NIGHTLY, ids=lambda path: path.stem)
def test_a_night_is_measured_compared_summed_up_and_kept(path: Path) -> None:
    lines = " ".join(commands(path))
    order = ["make nightly", "make guard", "GITHUB_STEP_SUMMARY"]
    assert sorted(order, key=lines.index) == order
    after = steps(path)[[step.get("name", "") for step in steps(path)].index("Summary") :]
    assert all(step["if"] == "${{ !cancelled() }}" for step in after)
    assert any("upload-artifact" in step.get("uses", "") for step in after)
    assert read(path)["concurrency"]["cancel-in-progress"] is False


def test_make_nightly_compares_prunes_and_draws_trends() -> None:
    said = dry_run("nightly", "HISTORY=my nights", "KEEP=7", "ZOO=pocket", "OUT=my nights/x")
    night, pruned, drawn = re.findall(r"run_all\.py (.*?)(?:;| &&| \|\|)", said.replace("\\\n", ""))
    for part in ("--suite nightly", "--zoo pocket", '--out "my nights/x"', "--compare previous",
                 "--fail-on-regression"):  # fmt: skip
        assert part in re.sub(r"\s+", " ", night)
    assert pruned == 'prune "my nights" --keep 7'
    assert drawn == 'trends "my nights"'
    asked = ["--suite", "nightly", "--compare", "previous", "--fail-on-regression"]
    options = parse(asked, "run_all.py")
    assert read_suite(find_suite(options.suite)).name == "nightly"


@pytest.mark.parametrize(("night", "code"), [(0, 0), (1, 1), (3, 3)])
def test_make_nightly_ends_as_the_night_did_after_pruning_and_trends(
    night: int, code: int, tmp_path: Path
) -> None:
    """With a run_all.py that only records its arguments."""
    log = tmp_path / "log"
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$2" >> {log}\n[ "$2" != --suite ] || exit {night}\n')
    python.chmod(0o755)
    command = ["make", "--silent", "nightly", f"VENV={tmp_path / 'venv'}", "-o", "env"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, check=False)
    assert log.read_text().split() == ["--suite", "prune", "trends"]
    assert f"Error {code}".encode() in done.stderr if code else done.returncode == 0


def test_the_nightly_suite_has_every_family_and_only_held_out_tasks() -> None:
    from melange.baselines.catalog import expand
    from melange.baselines.zoo.catalog import open_zoo
    from melange.harness.plan import choose_tasks
    from melange.harness.roles import Roles
    from melange.tasks.registry import load_tasks

    nightly, whole = (read_suite(find_suite(name)) for name in ("nightly", "jan2024"))
    roles = Roles(open_zoo("pocket").related())
    mine, all_of_them = (
        {one.family for one in expand(suite.candidates, roles, where=suite.name).candidates}
        for suite in (nightly, whole)
    )
    assert mine == all_of_them
    tasks = choose_tasks(nightly, "pocket", load_tasks(), [])
    assert {task.split for task in tasks} == {"held_out"}
    assert nightly.rounds > whole.rounds
    assert nightly.tasks["public"]
