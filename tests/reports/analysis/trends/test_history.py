"""A folder of runs is read as a history, with trends, and steps with what changed at each."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from changed_nights import NIGHTS, rewrite
from nightly_runs import (
    Line,
    Nights,
    name_of,
    write_history,
    write_night,
)
from places import ROOT

from melange.harness.errors import HarnessError
from melange.harness.runs.history import Key, read_history, read_night
from melange.reports.render import render_trends

ATTACK = "<script>alert(1)</script></script><!--"


# Reading


def test_runs_come_in_the_order_in_which_they_started(tmp_path: Path) -> None:
    for night, name in ((1, "b"), (0, "z"), (2, "a")):
        write_night(tmp_path / name, NIGHTS, night)
    assert [night.name for night in read_history(tmp_path).nights] == ["z", "b", "a"]


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("manifest.json", None, "no manifest.json"),
        ("manifest.json", "{", "is not JSON"),
        ("manifest.json", "[]", "not an object"),
        ("manifest.json", '{"schema_version": 99}', "schema 99"),
        ("manifest.json", '{"schema_version": 1}', "when it started"),
        ("measurements.jsonl", '{"schema_version": 99}\n', "schema 99"),
        ("measurements.jsonl", '{"metric": 3}\n', "line 1"),
    ],
)
def test_a_run_that_cannot_be_read_is_listed_with_the_reason(
    file: str, content: str | None, reason: str, tmp_path: Path
) -> None:
    write_history(tmp_path, Nights(nights=2))
    (tmp_path / name_of(0) / file).unlink()
    if content is not None:
        (tmp_path / name_of(0) / file).write_text(content)
    history = read_history(tmp_path)
    assert [night.name for night in history.nights] == [name_of(1)]
    assert [one.name for one in history.unread] == [name_of(0)]
    assert reason in history.unread[0].reason
    assert reason in render_trends(tmp_path).read_text()


def test_a_link_is_listed_and_not_counted_twice(tmp_path: Path) -> None:
    write_history(tmp_path, Nights(nights=2))
    (tmp_path / "latest").symlink_to(name_of(1))
    history = read_history(tmp_path)
    assert len(history.nights) == 2
    assert [one.name for one in history.unread] == ["latest"]


def test_a_line_that_was_cut_costs_that_line_only(tmp_path: Path) -> None:
    run = write_night(tmp_path / "run", NIGHTS, 0)
    whole = read_night(run)
    with (run / "measurements.jsonl").open("a") as file:
        file.write('{"schema_version": 1, "candid')
    cut = read_night(run)
    assert cut.points == whole.points
    assert "was cut" in cut.note


def test_numbers_are_those_that_a_report_shows(tmp_path: Path) -> None:
    from melange.reports.analysis.run import load_run

    run = write_night(tmp_path / "run", NIGHTS, 0)
    report, night = load_run(run), read_night(run)
    for candidate in report.families:
        for task in report.tasks:
            reading = report.quality(candidate, task)
            point = night.points[Key("accuracy", candidate, task)]
            assert (point.value, point.low, point.high, point.n) == (
                reading.value, reading.low, reading.high, reading.n)  # fmt: skip


def test_a_later_failure_leaves_a_gap_and_a_later_value_closes_it(tmp_path: Path) -> None:
    run = write_night(tmp_path / "run", NIGHTS, 0)
    lines = (run / "measurements.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    failed = first | {"value": None, "outcome": "failed", "reason": "broke"}
    key = Key("accuracy", first["candidate"], first["task"])
    for later, known in (([failed], False), ([failed, first], True)):
        text = "\n".join([*lines, *map(json.dumps, later)]) + "\n"
        (run / "measurements.jsonl").write_text(text)
        assert (key in read_night(run).points) == known


def test_a_run_that_stopped_half_way_says_how_much_is_missing(tmp_path: Path) -> None:
    def half(night: int, line: Line) -> Line | None:
        return None if line["candidate"] == "candidate-1" and line["task"] else line

    run = write_night(tmp_path / "run", NIGHTS, 0, half)
    assert read_night(run).num_unmeasured == 2
    assert "2 cells not measured" in render_trends(tmp_path).read_text()


@pytest.mark.parametrize(
    ("make", "words"),
    [(lambda root: None, "not a folder"), (lambda root: write_night(root, NIGHTS, 0), "a run;")],
)
def test_what_is_no_folder_of_runs_is_refused_in_one_line(
    make: Callable[[Path], Any], words: str, tmp_path: Path
) -> None:
    make(tmp_path / "root")
    with pytest.raises(HarnessError, match=words):
        render_trends(tmp_path / "root")


def test_a_folder_without_a_run_says_so(tmp_path: Path) -> None:
    assert "No run yet" in render_trends(tmp_path).read_text()


# Pages


def test_what_runs_wrote_is_text_on_the_pages(tmp_path: Path) -> None:
    write_history(tmp_path, Nights(nights=3))
    for night in range(3):
        rewrite(tmp_path, night, lambda manifest: (
            manifest["versions"].update({ATTACK: ATTACK}),
            manifest["suite"].update(name=ATTACK),
            manifest["candidates"][0].update(name=ATTACK)))  # fmt: skip
    (tmp_path / ATTACK.replace("/", "_")).mkdir()
    render_trends(tmp_path)
    for page in tmp_path.rglob("*.html"):
        assert "<script>alert" not in page.read_text()
        assert "</script><!--" not in page.read_text()


def test_every_number_is_in_the_csv_beside_its_page(tmp_path: Path) -> None:
    write_history(tmp_path, NIGHTS)
    index = render_trends(tmp_path)
    (table,) = index.parent.glob("trends/*/accuracy.csv")
    rows = pd.read_csv(table)
    assert len(rows) == 40 * 2 * (2 + 1)
    assert list(rows.columns)[:5] == ["run", "candidate", "subject", "value", "value_ci_low"]
    assert rows.value.between(rows.value_ci_low, rows.value_ci_high).all()


def test_pages_of_metrics_that_no_run_has_any_more_are_removed(tmp_path: Path) -> None:
    write_history(tmp_path, Nights(nights=2))
    render_trends(tmp_path)
    (page,) = tmp_path.glob("trends/*/build-sec.html")
    for night in range(2):
        path = tmp_path / name_of(night) / "measurements.jsonl"
        kept = [line for line in path.read_text().splitlines() if "build_sec" not in line]
        path.write_text("\n".join(kept) + "\n")
    render_trends(tmp_path)
    assert not page.exists()


def test_a_folder_of_the_users_at_the_pages_place_is_left_alone(tmp_path: Path) -> None:
    write_night(tmp_path / "trends", NIGHTS, 0)
    with pytest.raises(HarnessError, match="another name"):
        render_trends(tmp_path)


def test_trends_import_neither_torch_nor_vllm(tmp_path: Path) -> None:
    write_history(tmp_path, Nights(nights=2))
    code = (
        "import sys, run_all\n"
        f"assert run_all.main(['trends', {str(tmp_path)!r}]) == 0\n"
        "assert not {'torch', 'vllm', 'transformers', 'lm_eval'} & set(sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.slow
def test_a_year_of_trends_grows_linearly(tmp_path: Path) -> None:
    """The bound is twice linear growth: quadratic growth would take four times as much."""
    seconds = {}
    for runs in (90, 365):
        root = tmp_path / str(runs)
        write_history(root, Nights(nights=runs, candidates=12, tasks=12, workloads=4))
        start = time.process_time()  # CPU time of one thread: the wall time on an idle machine
        index = render_trends(root)
        seconds[runs] = time.process_time() - start
        assert index.stat().st_size < 3_000_000
    assert seconds[365] / seconds[90] <= 2 * 365 / 90
