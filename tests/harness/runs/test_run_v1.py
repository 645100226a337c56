"""This version reads, resumes, compares and renders a run stored by an earlier one.

`data/run-v1` is a run in version 1 of the schema: four candidates of `smoke` (checkpoints, an
average, a mix) on eight examples per task.
"""

import json
import shutil
from pathlib import Path

import pytest
from command_line import run_here
from stored_run import ASKED, STORED

from melange.harness.round_line import RoundLine
from melange.harness.runs.history import read_night
from melange.harness.runs.manifest import read_manifest
from melange.harness.runs.reader import _at_once, read_rounds
from melange.reports.analysis.run import load_run

RECORDS = ("measurements.jsonl", "rounds.jsonl", "checks.jsonl")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return shutil.copytree(STORED, tmp_path / "old")


def test_it_is_read_to_the_number() -> None:
    run = load_run(STORED)
    assert not run.notes
    assert len(run.measurements) == 157
    assert run.quality("proxy-mix-a1.0", "pocket_knowledge").value == 0.875
    assert run.quality("large_base", "pocket_arithmetic").n == 8
    assert run.read("small_mix", "weights_bytes").value == 1_263_872
    assert len(run.checks) == 64
    scores = run.scores("large_base", "pocket_arithmetic")
    assert scores is not None
    assert scores.values_N.sum() == 1


def test_its_machine_calibration_is_read_under_its_old_name() -> None:
    rounds = STORED / "rounds.jsonl"
    assert all(one.calibration_sec for one in read_rounds(rounds))
    assert _at_once(rounds.read_bytes(), RoundLine) is not None
    assert read_night(STORED).calibration_sec == pytest.approx(0.011309793)


def test_a_limit_took_the_first_rows_so_it_is_not_resumed_with_drawn_ones(old: Path) -> None:
    planned = run_here("plan", *ASKED, "--out", old)
    assert "rows of the limit first, this one has drawn; pass another --out" in planned.stderr


def test_it_is_resumed_and_nothing_is_measured_again(old: Path) -> None:
    manifest = json.loads((old / "manifest.json").read_text())
    (old / "manifest.json").write_text(json.dumps(manifest | {"limit_rows": "drawn"}))
    before = {name: (old / name).read_bytes() for name in RECORDS}
    planned = run_here("plan", *ASKED, "--out", old)
    assert "to do: 0 cells of 0 candidates" in planned.stdout, planned.stderr
    done = run_here("run", *ASKED, "--out", old)
    assert done.returncode == 0, done.stderr
    assert "report: " in done.stdout
    assert {name: (old / name).read_bytes() for name in RECORDS} == before


def test_it_is_compared(old: Path, tmp_path: Path) -> None:
    new = shutil.copytree(STORED, tmp_path / "new")
    asked = ("report", *ASKED, "--out", new, "--compare", old, "--fail-on-regression")
    waived = ("--waive", "*:*:the machine*", "--waive", "*:accuracy:*never be significant*")
    done = run_here(*asked, *waived)
    assert done.returncode == 0, done.stderr
    assert f"comparing with {old}" in done.stdout
    assert "8 cells of the baseline waived by '*:*:the machine*'" in done.stdout
    assert "4 cells of the baseline waived by '*:accuracy:*never be" in done.stdout


def test_it_is_rendered(old: Path) -> None:
    assert run_here("report", *ASKED, "--out", old).returncode == 0
    page = (old / "report" / "candidates" / "proxy-mix-a1-0.html").read_text()
    assert "small_mix" in page
    assert "sum of logits" in page
    assert len(list((old / "report" / "samples").glob("*.html"))) == 3


def test_it_is_a_night_of_a_trend(old: Path) -> None:
    done = run_here("trends", old.parent)
    assert done.returncode == 0, done.stderr
    assert "pocket_knowledge" in "".join(
        page.read_text() for page in (old.parent / "trends").rglob("*.html")
    )
    assert json.loads((old / "manifest.json").read_text())["schema_version"] == 1


def test_its_suite_is_read_under_the_keys_of_today(old: Path) -> None:
    path = old / "manifest.json"
    content = json.loads(path.read_text())
    assert "settle" in content["suite"]
    path.write_text(json.dumps(content | {"suite": content["suite"] | {"settle": 0.02}}))
    suite = read_manifest(path).suite
    assert suite is not None
    assert suite.target_relative_error == 0.02
