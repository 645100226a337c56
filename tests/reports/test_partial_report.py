"""Pages of an unfinished run say what is done, what is pending, and whether the run goes on."""

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from comparison_run import edit_manifest
from partial_run import PARTS, partial
from places import ROOT
from rendered import text_of

from melange.harness.errors import HarnessError
from melange.harness.runs.baseline import is_finished
from melange.harness.runs.reader import read_run
from melange.harness.runs.writer import RunFolder
from melange.reports.analysis.run import load_run
from melange.reports.render import render
from melange.reports.summary import summary
from melange.reports.view import RunView

HOLE = re.compile(r"\b(nan|none|null|undefined|inf)\b", re.IGNORECASE)


def pages_of(folder: Path) -> dict[str, str]:
    report = render(folder).parent
    return {str(page.relative_to(report)): text_of(page) for page in report.rglob("*.html")}


@pytest.mark.parametrize("part", PARTS)
def test_no_page_of_a_part_shows_a_hole_or_calls_it_whole(part: str, tmp_path: Path) -> None:
    folder = partial(tmp_path / "run", PARTS[part])
    with RunFolder(folder).claimed():
        pages = pages_of(folder)
    assert not [path for path, text in pages.items() if HOLE.search(text)]
    assert "the run was going on when this page was made" in pages["index.html"]
    assert "Every planned cell has its result" not in pages["index.html"]
    assert "not run" not in pages["index.html"].replace("not run what it never", "")


def test_what_is_still_to_come_is_pending_and_not_skipped_failed_or_never_run(
    tmp_path: Path,
) -> None:
    folder = partial(tmp_path / "run", PARTS["all tasks"])
    with RunFolder(folder).claimed():
        run = load_run(folder)
    tasks = {run.quality(name, task).outcome for name in run.families for task in run.tasks}
    assert tasks == {"completed", "skipped", "failed"}
    for name in run.families:
        assert run.read(name, "ttft_sec", workload="8/8").outcome == "pending"
        assert run.read(name, "needed_memory_bytes").outcome == "pending"


def test_a_run_that_nobody_is_at_work_on_has_stopped(tmp_path: Path) -> None:
    folder = partial(tmp_path / "run", PARTS["one family's tasks"])
    index = pages_of(folder)["index.html"]
    assert "8 of 44 cells measured; the run stopped" in index
    assert "going on when" not in index
    assert "Every planned cell has its result" not in index
    assert "the run stopped before it came to it base : 5 cells" in index
    assert load_run(folder).quality("base", "knowledge").outcome == "absent"


def test_a_run_that_is_through_says_nothing_of_it(tmp_path: Path) -> None:
    assert "cells measured" not in pages_of(partial(tmp_path / "run", lambda _: True))["index.html"]


def test_ranks_and_claims_are_held_to_the_candidates_that_are_there(tmp_path: Path) -> None:
    folder = partial(tmp_path / "run", PARTS["one family's tasks"])
    with RunFolder(folder).claimed():
        report = RunView(load_run(folder))
    ranked = [name for name in report.ranking if "averaging" in name]
    assert report.evidence.ranked == ranked
    reasons = set(report.evidence.unranked.values())
    assert reasons == {"some of its tasks are still to come: the run is going on"}
    to_base = report.column("to_reference")
    assert to_base is not None
    others = {name: cell.reading for name, cell in to_base.cells.items() if name != "base"}
    assert {one.outcome for one in others.values()} == {"pending"}
    index = pages_of(folder)["index.html"]
    assert "the highest mean accuracy so far, with 2 of 9 candidates through" in index


def test_the_summary_says_how_much_is_there_and_of_which_families(tmp_path: Path) -> None:
    folder = partial(tmp_path / "run", PARTS["half a family's tasks"])
    text = summary(RunView(load_run(folder)))
    assert "**4 of 44 cells measured; the run stopped, and the same command" in text
    assert "Through with their tasks: checkpoint (1 of 2)." in text


def test_a_line_that_is_just_being_written_is_no_damage(tmp_path: Path) -> None:
    folder = partial(tmp_path / "run", PARTS["all tasks"])
    with RunFolder(folder).claimed():
        with (folder / "measurements.jsonl").open("a") as file:
            file.write('{"candidate": "ba')
        assert load_run(folder).notes == ()
    assert "was cut in line" in load_run(folder).notes[0]


def test_two_processes_do_not_measure_into_one_folder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    refused = pytest.raises(HarnessError, match="another process is measuring")
    with folder.claimed(), refused, folder.claimed():
        pass
    with folder.claimed():
        pass


def test_a_process_that_is_killed_leaves_a_run_that_has_stopped(tmp_path: Path) -> None:
    folder = partial(tmp_path / "run", PARTS["nothing"])
    code = (
        "import sys, time, pathlib, melange.harness.runs.writer\n"
        "with melange.harness.runs.writer.RunFolder(pathlib.Path(sys.argv[1])).claimed():\n"
        "    print('claimed', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "claimed\n"
        assert load_run(folder).going_on
        child.send_signal(signal.SIGKILL)
    assert not load_run(folder).going_on


def test_a_cell_that_was_cut_short_has_not_ended(tmp_path: Path) -> None:
    """Its memory was recorded, and none or some of its workloads."""
    for number, workloads in enumerate([(), ("8/512", "8/8")]):

        def kept(line: dict[str, Any], workloads: tuple[str, ...] = workloads) -> bool:
            return "workload" not in line or line["workload"] in workloads

        folder = partial(tmp_path / str(number), kept)
        timed = 9 - 1  # one failed before its first workload
        run = load_run(folder)
        assert len(run.waiting) == timed
        index = pages_of(folder)["index.html"]
        assert "the run stopped before it came to it" in index
        assert "; the run stopped, and the same command goes on from here" in index
        assert not is_finished(read_run(folder))


def test_a_manifest_without_cells_planned_all_candidates_on_all_tasks(tmp_path: Path) -> None:
    folder = partial(tmp_path / "run", PARTS["one family's tasks"])
    edit_manifest(folder, lambda manifest: manifest.pop("cells"))
    index = pages_of(folder)["index.html"]
    assert "8 of 45 cells measured; the run stopped" in index
    assert "Every planned cell has its result" not in index
    assert not is_finished(read_run(folder))
