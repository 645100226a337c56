"""Resume, report and trends use the same rule for which record of a run is valid."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import run_here
from nightly_runs import Nights, manifest_of, name_of, write_history, write_manifest, write_night
from stored_run import ASKED, STORED

from melange.baselines.zoo.catalog import open_zoo
from melange.harness.records import SCHEMA_VERSION, Candidate, Measurement, Outcome
from melange.harness.roles import Roles
from melange.harness.runs.history import read_history, read_night
from melange.harness.runs.manifest import described
from melange.harness.runs.reader import read_measurements, read_run
from melange.harness.runs.upgrades import upgraded_manifest
from melange.harness.runs.writer import RunFolder
from melange.reports.analysis.run import load_run

CELL = ("soup", "quiz")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.prepare()
    run.write_manifest({"schema_version": SCHEMA_VERSION, "started": "2026-01-01T00:00:00"})
    return run


def line(metric: str = "acc", **fields: Any) -> Measurement:
    known = {"candidate": "soup", "family": "merging", "task": "quiz", "value": 0.5}
    return Measurement(**(known | {"metric": metric} | fields))


def lines_of(folder: RunFolder) -> list[str]:
    return (folder.path / "measurements.jsonl").read_text().splitlines(keepends=True)


def put(folder: RunFolder, lines: list[str]) -> None:
    (folder.path / "measurements.jsonl").write_text("".join(lines))


# Which record is valid


def test_a_cell_that_was_cut_short_is_measured_again(folder: RunFolder) -> None:
    """As after a full disk: the first metric was written, the last was not."""
    folder.append([line("acc"), line("f1")])
    assert folder.completed() == {CELL}
    whole = lines_of(folder)
    put(folder, [whole[0], whole[1][:40]])
    assert folder.completed() == set()
    folder.prepare()
    folder.append([line("acc"), line("f1")])
    assert folder.completed() == {CELL}


def test_a_torn_line_is_left_out_by_every_reader(folder: RunFolder) -> None:
    folder.append([line("acc")])
    folder.append([line("acc", candidate="ties")])
    whole = lines_of(folder)
    put(folder, [whole[0], whole[0][:30] + "\n", whole[1]])
    assert [one.candidate for one in folder.measurements()] == ["soup", "ties"]
    assert folder.completed() == {CELL, ("ties", "quiz")}
    noted = "measurements.jsonl was cut in line 2"
    assert noted in read_run(folder.path).notes[0]
    assert noted in read_night(folder.path).note


def test_a_record_that_lacks_only_its_line_end_is_kept(folder: RunFolder) -> None:
    folder.append([line("acc")])
    put(folder, [lines_of(folder)[0].rstrip("\n")])
    assert folder.completed() == {CELL}
    folder.prepare()
    folder.append([line("acc", candidate="ties")])
    assert len(folder.measurements()) == 2


def test_line_ends_inside_a_text_are_none(folder: RunFolder) -> None:
    folder.append([line("acc", value=None, outcome=Outcome.FAILED, reason="a\u2028b\x85c")])
    (found,) = folder.measurements()
    assert found.reason == "a\u2028b\x85c"


def test_a_disputed_cell_is_no_success_for_anyone(folder: RunFolder) -> None:
    folder.append([line("acc")])
    folder.append([line("acc", value=None, outcome=Outcome.DISPUTED, reason="example 3")])
    assert folder.completed() == set()
    assert read_run(folder.path).measurements[0].value is None
    assert read_night(folder.path).num_failed == 1


def test_fast_and_careful_reading_agree(tmp_path: Path) -> None:
    path = write_night(tmp_path / "night", Nights(nights=1), 0) / "measurements.jsonl"
    fast, notes = read_measurements(path)
    assert not notes
    path.write_text(path.read_text() + "{")  # after one torn line, each is parsed carefully
    careful, notes = read_measurements(path)
    assert notes
    assert careful == fast


def test_samples_of_what_was_taken_back_do_not_hold(folder: RunFolder) -> None:
    samples = STORED / "samples" / "large_base" / "pocket_knowledge.parquet"
    own = folder.path / "samples" / "soup" / "quiz.parquet"
    own.parent.mkdir(parents=True)
    shutil.copy(samples, own)
    folder.append([line("acc")])
    assert read_run(folder.path).samples_path(*CELL) == own
    folder.withdraw({CELL: "its recipe has changed since"}, ())
    assert read_run(folder.path).samples_path(*CELL) is None
    folder.append([line("acc")])
    assert read_run(folder.path).samples_path(*CELL) == own


# Versions


def test_an_earlier_version_is_read_with_what_it_left_to_readers() -> None:
    raw = json.loads((STORED / "manifest.json").read_text())
    run, roles = load_run(STORED), Roles(open_zoo("pocket").related())
    assert set(run.manifest.descriptions) == {one["name"] for one in raw["candidates"]}
    assert run.manifest.schema_version == SCHEMA_VERSION
    for one in run.manifest.candidates:
        said, now = run.described[one.name], described(one.recipe, roles)
        assert (said.title, said.parts, said.base) == (now.title, now.parts, now.base)
        assert (said.experts, said.antiexperts) == (now.experts, now.antiexperts)
        assert (said.inputs, said.plain_role) == (one.recipe.inputs, one.recipe.plain_role)
    assert run.declared["peak_memory_bytes"]["unit"] == "bytes"


def test_a_kind_that_this_version_does_not_know_is_shown_by_what_it_said(folder: RunFolder) -> None:
    swarm = {"name": "swarm", "family": "x", "recipe": {"kind": "swarm", "method": "m", "size": 3}}
    manifest = {"schema_version": 1, "candidates": [swarm]}
    told = upgraded_manifest(Path("manifest.json"), manifest)["descriptions"]["swarm"]
    assert "kind 'swarm', which this version does not know" in told["title"]
    said = {"title": "a swarm of 3", "inputs": ["a", "b"]}
    folder.write_manifest(
        {"schema_version": SCHEMA_VERSION, "candidates": [swarm], "descriptions": {"swarm": said}}
    )
    run = load_run(folder.path)
    assert run.described["swarm"].title == "a swarm of 3"
    assert Candidate.model_validate(swarm) in run.manifest.candidates


def test_lines_of_two_versions_share_a_file(tmp_path: Path) -> None:
    old = shutil.copytree(STORED, tmp_path / "old")
    folder, first = RunFolder(old), load_run(old)
    again = next(one for one in first.measurements if one.task == "pocket_arithmetic")
    folder.append([again.model_copy(update={"value": 0.25})])
    (old / "samples" / again.candidate / "pocket_arithmetic.parquet").unlink()  # of another value
    versions = [json.loads(one)["schema_version"] for one in lines_of(folder)]
    assert versions == [1] * len(first.measurements) + [SCHEMA_VERSION]
    assert load_run(old).quality(again.candidate, "pocket_arithmetic").value == 0.25
    assert len(folder.completed()) == 16


@pytest.mark.parametrize("name", ["manifest.json", "measurements.jsonl", "rounds.jsonl"])
def test_a_schema_to_come_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    old, new = (shutil.copytree(STORED, tmp_path / which) for which in ("old", "new"))
    path = new / name
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 99'))
    path.write_text(path.read_text().replace('"schema_version":1', '"schema_version":99'))
    commands: list[tuple[Any, ...]] = [("report", *ASKED, "--out", old, "--compare", new)]
    if name != "rounds.jsonl":  # neither plans nor pages read it
        commands += [(verb, *ASKED, "--out", new) for verb in ("plan", "run", "report")]
    for command in commands:
        done = run_here(*command)
        assert done.returncode == 2
        (said,) = done.stderr.splitlines()
        assert f"{name} has schema 99; this version reads up to {SCHEMA_VERSION}" in said


def test_a_trend_goes_on_over_nights_of_both_versions(tmp_path: Path) -> None:
    nights = Nights(nights=6)
    write_history(tmp_path, nights)
    before = read_history(tmp_path)
    for night in (3, 4, 5):
        folder = tmp_path / name_of(night)
        upgraded = upgraded_manifest(folder / "manifest.json", manifest_of(nights, night))
        described = {name: one | {"parts": []} for name, one in upgraded["descriptions"].items()}
        write_manifest(folder, upgraded | {"descriptions": described, "task_rows": {"task_0": "f"}})
        path = folder / "measurements.jsonl"
        path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    after = read_history(tmp_path)
    assert not after.unread
    assert [night.points for night in after.nights] == [night.points for night in before.nights]
    keys = before.nights[0].points
    assert all(
        night.era(key) == before.nights[0].era(key) for night in after.nights for key in keys
    )
