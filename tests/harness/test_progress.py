"""A run's progress, on a line of the terminal and in a report that is rendered meanwhile."""

import os
import pty
import re
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from partial_run import PARTS, partial
from places import ROOT
from rendered import text_of
from small_plans import small_plan, tell

from melange.harness.estimates import MIX_FACTOR
from melange.harness.live_report import LiveReport
from melange.harness.progress import Progress, spoken
from melange.harness.runs.writer import RunFolder
from melange.harness.time_left import time_left


def test_the_report_of_a_run_that_goes_on_is_rendered_beside_it(tmp_path: Path) -> None:
    folder = RunFolder(partial(tmp_path / "run", PARTS["one family's tasks"]))
    said: list[str] = []
    live = LiveReport(folder, said.append)
    with folder.claimed():
        for _ in range(3):
            live.renew()
        live.wait()
    live.close()
    assert said == [f"report so far: {folder.report}"]
    assert "the run was going on" in text_of(folder.report)


def test_a_rendering_that_fails_is_one_line_and_ends_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    live = LiveReport(RunFolder(tmp_path), said.append)
    live.renew()
    live.wait()
    live.close()
    (line,) = said
    assert line.startswith("the report could not be rendered, the run goes on: reports: ")
    assert "manifest.json does not exist" in line


def test_a_rendering_ends_with_its_run(tmp_path: Path) -> None:
    said: list[str] = []
    folder = RunFolder(partial(tmp_path / "run", PARTS["all tasks"]))
    live = LiveReport(folder, said.append)
    live.renew()
    live.renew()
    time.sleep(0.2)
    live.close()
    assert not said
    assert not folder.report.exists()


def test_the_time_left_is_the_remaining_work_at_the_speed_of_the_work_done() -> None:
    left = time_left(small_plan())
    assert left.seconds is None
    left.visits.units.clear()
    left.tasks.finish("small_base", 3, 30.0)
    # Three tasks of a checkpoint remain, and three of a mix, which take longer.
    assert left.seconds == pytest.approx(30.0 + 30.0 * MIX_FACTOR)
    left.num_slots = 2
    assert left.seconds == pytest.approx(15.0 + 15.0 * MIX_FACTOR)


def test_speeds_are_as_far_off_the_plan_as_tasks_until_some_are_timed() -> None:
    left = time_left(small_plan())
    for name in list(left.tasks.units):
        left.tasks.finish(name, 3, 3 * 10 * left.tasks.weights[name])
    assert left.seconds == pytest.approx(10 * left.visits.remaining_sec)
    for name in left.visits.units:
        left.visits.finish(name, 2, 2 * 7 * left.visits.weights[name])
    assert left.seconds == pytest.approx(7 * left.visits.remaining_sec)
    for name in list(left.visits.units):
        left.visits.drop(name)
    assert left.seconds == 0


def test_seconds_are_spoken_in_one_unit_or_two() -> None:
    assert [spoken(sec) for sec in (0.4, 59, 95, 7800)] == ["0 s", "59 s", "2 min", "2 h 10 min"]


def test_without_a_terminal_there_is_a_line_at_each_candidates_end_and_few_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = Progress(small_plan())
    tell(progress)
    for _ in range(1000):
        progress.doing("round 1, timing small_base", still=True)
        progress.visited("small_base", 0.01)
    progress.close()
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"small_base: 3 tasks in 30.0 s \(3 of 12 cells, about \S+ \S+ left\)", first
    )
    assert second.startswith("large_base: 3 tasks in 30.0 s (6 of 12 cells, about ")


STOPPED = """
import sys
sys.path.insert(0, "tests/support")
from contextlib import closing
from melange.harness.progress import Progress
from small_plans import small_plan, tell
with closing(Progress(small_plan())) as progress:
    tell(progress)
    raise KeyboardInterrupt
"""


def screen(written: str) -> list[str]:
    """The screen after this output: a carriage return goes to the start, text overwrites text."""
    rows, column = [""], 0
    for part in re.findall(r"\r|\n|\x1b\[K|[^\r\n\x1b]+", written):
        if part == "\x1b[K":
            rows[-1] = rows[-1][:column]
            continue
        if part == "\n":
            rows.append("")
        if part in "\r\n":
            column = 0
            continue
        rows[-1] = rows[-1][:column].ljust(column) + part + rows[-1][column + len(part) :]
        column += len(part)
    return [row.rstrip() for row in rows]


def on_a_terminal(code: str) -> str:
    """Output of a Python program on a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (24, 100))
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=theirs, stderr=theirs)
    os.close(theirs)
    parts = []
    while part := _read(ours):
        parts.append(part)
    child.wait()
    os.close(ours)
    return b"".join(parts).decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # no process has it open any more
        return b""


def test_on_a_terminal_one_line_rewrites_itself_and_ctrl_c_leaves_none_of_it() -> None:
    written = on_a_terminal(STOPPED)
    assert "6 of 12 cells" in written
    rows = screen(written)
    assert rows[:2] == ["small_base: 3 tasks in 30.0 s", "large_base: 3 tasks in 30.0 s"]
    assert rows[2].startswith("Traceback")
    assert rows[-2:] == ["KeyboardInterrupt", ""]
