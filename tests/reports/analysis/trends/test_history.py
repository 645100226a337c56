"""A folder of runs: read whole, each number followed, steps with what came with them."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from nightly_runs import (
    Line,
    Nights,
    manifest_of,
    name_of,
    write_history,
    write_manifest,
    write_night,
)
from places import ROOT

from melange.harness.errors import HarnessError
from melange.harness.runs.history import History, Key, read_history, read_night
from melange.reports.analysis.trends.trends import Trend, events, trends
from melange.reports.render import render_trends

NIGHTS = Nights(nights=40, candidates=2, tasks=2, workloads=2)
ATTACK = "<script>alert(1)</script></script><!--"


def change(**matches: Any) -> Callable[[int, float, int], Callable[[int, Line], Line]]:
    """An edit: from a night on, matching lines are multiplied by a factor."""

    def with_factor(first: int, factor: float, last: int = 10**6) -> Callable[[int, Line], Line]:
        def edit(night: int, line: Line) -> Line:
            if first <= night < last and all(line[key] == want for key, want in matches.items()):
                for part in ("value", "ci_low", "ci_high"):
                    line[part] = line[part] and line[part] * factor
            return line

        return edit

    return with_factor


def rewrite(root: Path, night: int, edit: Callable[[dict[str, Any]], None]) -> None:
    manifest = manifest_of(NIGHTS, night)
    edit(manifest)
    write_manifest(root / name_of(night), manifest)


def all_trends(history: History) -> dict[Key, Trend]:
    (nights,) = history.by_series().values()
    return {trend.key: trend for trend in trends(nights)}


def steps(history: History) -> dict[Key, list[int]]:
    return {
        key: [step.at for step in trend.steps]
        for key, trend in all_trends(history).items()
        if trend.steps
    }


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


# Series and what breaks a trend


@pytest.mark.parametrize("key", ["seed", "limit", "device"])
def test_runs_that_differ_in_what_they_are_of_are_series_of_their_own(
    key: str, tmp_path: Path
) -> None:
    write_history(tmp_path, Nights(nights=3))
    rewrite(tmp_path, 2, lambda manifest: manifest.update({key: "cuda" if key == "device" else 7}))
    history = read_history(tmp_path)
    assert [len(nights) for nights in history.by_series().values()] == [1, 2]
    assert render_trends(tmp_path).read_text().count('<h2 id="series-') == 2


def test_another_recipe_or_checkpoint_breaks_the_candidates_trends_without_a_step(
    tmp_path: Path,
) -> None:
    write_history(tmp_path, NIGHTS, change(candidate="candidate-0")(20, 1.5))
    for night in range(20, 40):
        rewrite(tmp_path, night, lambda manifest: manifest["candidates"][0]["recipe"].update(
            options={"weights": [1.0]}))  # fmt: skip
    found = all_trends(read_history(tmp_path))
    mine = [trend for key, trend in found.items() if key.candidate == "candidate-0"]
    others = [trend for key, trend in found.items() if key.candidate == "candidate-1"]
    assert {trend.breaks for trend in mine} == {(20,)}
    assert {trend.breaks for trend in others} == {()}
    assert steps(read_history(tmp_path)) == {}


def test_another_definition_of_a_task_breaks_its_trends_and_the_mean(tmp_path: Path) -> None:
    write_history(tmp_path, NIGHTS)
    for night in range(40):
        version = "b" if night >= 20 else "a"
        rewrite(tmp_path, night, lambda manifest, version=version: manifest.update(
            task_definitions={"task_0": version, "task_1": "same"}))  # fmt: skip
    found = all_trends(read_history(tmp_path))
    assert found[Key("accuracy", "candidate-0", "task_0")].breaks == (20,)
    assert found[Key("accuracy", "candidate-0", "")].breaks == (20,)
    assert found[Key("accuracy", "candidate-0", "task_1")].breaks == ()
    assert found[Key("total_tokens_per_sec", "candidate-0", "8/128")].breaks == ()


def test_series_whose_names_run_together_stay_apart(tmp_path: Path) -> None:
    write_history(tmp_path, Nights(nights=2))
    for night, (suite, zoo) in enumerate([("a b", "c"), ("a", "b c")]):
        rewrite(tmp_path, night, lambda manifest, suite=suite, zoo=zoo: (
            manifest["suite"].update(name=suite), manifest["zoo"].update(name=zoo)))  # fmt: skip
    render_trends(tmp_path)
    assert len(list(tmp_path.glob("trends/*/accuracy.html"))) == 2


# Means


def test_the_mean_is_over_held_out_tasks_with_the_interval_of_independent_parts(
    tmp_path: Path,
) -> None:
    write_history(tmp_path, Nights(nights=1, candidates=1, tasks=4))
    night = read_history(tmp_path).nights[0]
    trend = all_trends(read_history(tmp_path))[Key("accuracy", "candidate-0", "")]
    points = [night.points[Key("accuracy", "candidate-0", f"task_{i}")] for i in range(4)]
    assert trend.values_N[0] == pytest.approx(sum(point.value for point in points) / 4)
    halves = [point.high - point.value for point in points]
    wanted = sum(half**2 for half in halves) ** 0.5 / 4
    assert trend.high_N[0] - trend.values_N[0] == pytest.approx(wanted)
    assert trend.counts_N[0] == 4 * 500


def test_half_a_mean_is_a_gap(tmp_path: Path) -> None:
    def lose(night: int, line: Line) -> Line | None:
        return None if night == 1 and line["task"] == "task_0" else line

    write_history(tmp_path, Nights(nights=3), lose)
    trend = all_trends(read_history(tmp_path))[Key("accuracy", "candidate-0", "")]
    assert trend.known.tolist() == [0, 2]


# Steps


def test_noise_alone_has_no_step(tmp_path: Path) -> None:
    assert steps(read_history(write_history(tmp_path, NIGHTS))) == {}


def test_a_step_names_run_revision_and_versions_and_leads_to_the_report(tmp_path: Path) -> None:
    slower = change(candidate="candidate-1", workload="8/128", metric="total_tokens_per_sec")
    write_history(tmp_path, NIGHTS, slower(30, 0.7))
    for night in range(30, 40):
        rewrite(tmp_path, night, lambda manifest: manifest["versions"].update(vllm="0.33.0"))
    report = tmp_path / name_of(30) / "report"
    report.mkdir()
    (report / "index.html").write_text("")
    history = read_history(tmp_path)
    assert steps(history)[Key("total_tokens_per_sec", "candidate-1", "8/128")] == [30]
    event = next(one for one in events(list(all_trends(history).values()), history.nights)
                 if one.trend.key.subject == "8/128")  # fmt: skip
    assert event.trend.verdict(event.step) == "worse"
    assert event.came_with == ("git revision 000000abc01d → 000000abc01e", "vllm 0.32.0 → 0.33.0")
    html = render_trends(tmp_path).read_text()
    assert "vllm 0.32.0 → 0.33.0" in html
    assert f'href="{name_of(30)}/report/index.html"' in html


@pytest.mark.parametrize(
    ("factor", "words"),
    [(1.3, "took 1.30 times as long"), (0.7, "faster by itself"), (1.02, "")],
)
def test_a_step_says_whether_the_machine_itself_was_slower(
    factor: float, words: str, tmp_path: Path
) -> None:
    slower = change(metric="total_tokens_per_sec")(30, 1 / 1.3)
    machine = change(metric="calibration_sec")(30, factor)
    write_history(tmp_path, NIGHTS, lambda night, line: machine(night, slower(night, line)))
    history = read_history(tmp_path)
    found = [
        event.came_with for event in events(list(all_trends(history).values()), history.nights)
    ]
    assert found
    for told in found:
        assert any("fixed work" in one for one in told) == bool(words)
        assert words in "; ".join(told)


def test_more_memory_is_worse_and_more_speed_is_better(tmp_path: Path) -> None:
    def edit(night: int, line: Line) -> Line:
        line = change(metric="peak_memory_bytes")(20, 1.4)(night, line)
        return change(metric="decode_tokens_per_sec")(20, 1.4)(night, line)

    write_history(tmp_path, NIGHTS, edit)
    stepped = {key: one for key, one in all_trends(read_history(tmp_path)).items() if one.steps}
    found = {key.metric: {one.verdict(step) for step in one.steps} for key, one in stepped.items()}
    assert found == {"peak_memory_bytes": {"worse"}, "decode_tokens_per_sec": {"better"}}


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
    """Twice as much is the margin: what grew with the square would take four times as much."""
    seconds = {}
    for runs in (90, 365):
        root = tmp_path / str(runs)
        write_history(root, Nights(nights=runs, candidates=12, tasks=12, workloads=4))
        start = time.process_time()  # one thread: what it would take on an idle machine
        index = render_trends(root)
        seconds[runs] = time.process_time() - start
        assert index.stat().st_size < 3_000_000
    assert seconds[365] / seconds[90] <= 2 * 365 / 90
