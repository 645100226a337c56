"""Pruning deletes the oldest runs, never a reference run, and nothing outside of a run's folder."""

import os
import time
from pathlib import Path

import pytest
from command_line import run_here
from nightly_runs import Line, Nights, name_of, write_history, write_manifest, write_night

import run_all
from melange.harness.errors import HarnessError
from melange.harness.runs.retention import STILL_SEC, delete, mark, note_comparison, plan_pruning

NIGHTS = Nights(nights=6, candidates=1, tasks=1, workloads=1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_history(tmp_path / "nights", NIGHTS)


def prune(root: Path, keep: int) -> list[str]:
    """Names of the remaining runs."""
    delete(plan_pruning(root, keep=keep))
    return left(root)


def left(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def names(*nights: int) -> list[str]:
    return [name_of(night) for night in nights]


def unfinished(night: int, line: Line) -> Line | None:
    return None if line["task"] else line


def age(run: Path, seconds: float) -> None:
    then = time.time() - seconds
    for path in run.iterdir():
        os.utime(path, (then, then))


def test_the_oldest_runs_past_the_newest_n_go(root: Path) -> None:
    assert prune(root, 2) == names(4, 5)


def test_with_fewer_runs_nothing_goes(root: Path) -> None:
    assert prune(root, 6) == names(0, 1, 2, 3, 4, 5)
    assert prune(root, 60) == names(0, 1, 2, 3, 4, 5)


def test_a_dry_run_says_what_would_go_and_deletes_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = left(root)
    assert run_all.main(["prune", str(root), "--keep", "4", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if line.startswith("would go")] == [
        f"would go: {root / name}" for name in names(0, 1)
    ]
    assert left(root) == before


def test_the_command_says_what_goes_and_why_the_rest_stays(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_all.main(["keep", str(root / name_of(0))]) == 0
    assert run_all.main(["prune", str(root), "--keep", "4"]) == 0
    said = capsys.readouterr().out
    assert f"goes: {root / name_of(1)}" in said
    assert f"stays: {root / name_of(0)}: marked as a reference run" in said
    assert left(root) == names(0, 2, 3, 4, 5)


# What stays


def test_a_marked_run_stays(root: Path) -> None:
    mark(root / name_of(1))
    assert prune(root, 1) == names(1, 5)


def test_the_baseline_of_a_run_that_stays_stays_and_that_ones_does_not(root: Path) -> None:
    for night in range(1, 6):
        note_comparison(root / name_of(night), root / name_of(night - 1), {})
    assert prune(root, 2) == names(3, 4, 5)


def test_the_baseline_of_a_marked_run_stays(root: Path) -> None:
    mark(root / name_of(2))
    note_comparison(root / name_of(2), Path("somewhere/else") / name_of(0), {})
    assert prune(root, 1) == names(0, 2, 5)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"baseline": 3}', '{"baseline": ".."}', "{}"])
def test_a_comparison_that_cannot_be_read_protects_nothing_and_breaks_nothing(
    text: str, root: Path
) -> None:
    (root / name_of(5) / "comparison.json").write_text(text)
    assert prune(root, 1) == names(5)


def test_the_newest_finished_run_stays_behind_newer_ones_that_stopped(root: Path) -> None:
    for night in (6, 7):
        age(write_night(root / name_of(night), NIGHTS, night, unfinished), 2 * STILL_SEC)
    assert prune(root, 1) == names(5, 7)


def test_the_newest_finished_run_of_every_suite_and_zoo_stays(root: Path) -> None:
    from nightly_runs import manifest_of

    manifest = manifest_of(NIGHTS, 0)
    write_manifest(root / name_of(0), manifest | {"zoo": manifest["zoo"] | {"name": "tinyllama"}})
    assert prune(root, 1) == names(0, 5)


def test_a_run_in_progress_stays_and_one_that_stopped_days_ago_goes(root: Path) -> None:
    for night in (0, 1):
        (root / name_of(night) / "measurements.jsonl").write_text("")
    age(root / name_of(0), 2 * STILL_SEC)
    assert prune(root, 3) == names(1, 3, 4, 5)


# Hostile folders


def test_what_is_no_run_stays(root: Path) -> None:
    (root / "notes").mkdir()
    (root / "notes" / "precious.txt").write_text("mine")
    (root / "index.html").write_text("")
    (root / "trends").mkdir()
    (root / "empty run").mkdir()
    foreign = root / "another program's"
    foreign.mkdir()
    (foreign / "manifest.json").write_text(
        '{"schema_version": 1, "started": "2020-01-01T00:00:00"}'
    )
    assert set(left(root)) - set(prune(root, 1)) == set(names(0, 1, 2, 3, 4))


def test_a_link_to_a_run_stays_and_so_does_what_it_leads_to(root: Path, tmp_path: Path) -> None:
    elsewhere = write_night(tmp_path / "elsewhere", NIGHTS, 0)
    (root / "0 link").symlink_to(elsewhere)
    assert "0 link" in prune(root, 1)
    assert (elsewhere / "manifest.json").is_file()


def test_links_inside_a_run_are_not_followed(root: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    (precious / "deep").mkdir(parents=True)
    (precious / "deep" / "file").write_text("mine")
    run = root / name_of(0)
    (run / "folder").symlink_to(precious)
    (run / "file").symlink_to(precious / "deep" / "file")
    (run / "samples").mkdir()
    (run / "samples" / "up").symlink_to(root)
    assert prune(root, 5) == names(1, 2, 3, 4, 5)
    assert (precious / "deep" / "file").read_text() == "mine"


def test_a_folder_whose_manifest_is_a_link_stays(root: Path, tmp_path: Path) -> None:
    fake = root / "fake"
    fake.mkdir()
    (fake / "manifest.json").symlink_to(root / name_of(0) / "manifest.json")
    assert "fake" in prune(root, 1)


def test_names_with_spaces_and_signs_are_names(tmp_path: Path) -> None:
    for night, name in enumerate(["a b", "$(touch x)", "-rf", "ünïcode", "new"]):
        write_night(tmp_path / name, NIGHTS, night)
    assert prune(tmp_path, 1) == ["new"]


def test_a_run_that_is_half_deleted_can_be_deleted_later(root: Path) -> None:
    run = root / name_of(0)
    (run / "measurements.jsonl").unlink()
    age(run, 2 * STILL_SEC)
    assert prune(root, 5) == names(1, 2, 3, 4, 5)


def test_what_cannot_be_deleted_is_one_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(HarnessError, match="cannot be deleted: Permission denied"):
        prune(root, 5)


@pytest.mark.parametrize(
    "arguments",
    [["prune", "nights"], ["prune", "nights", "--keep", "0"], ["--keep", "3"], ["--dry-run"],
     ["prune", "--keep", "3"], ["keep", "a", "b"], ["prune", "missing", "--keep", "3"],
     ["keep", "missing"]],
)  # fmt: skip
def test_mistakes_exit_2_and_delete_nothing(
    arguments: list[str], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    before = left(root)
    assert run_here(*arguments).returncode == 2
    assert left(root) == before
