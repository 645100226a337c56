"""Breaks, means and steps of trends."""

from pathlib import Path

import pytest
from changed_nights import NIGHTS, all_trends, change, rewrite, steps
from nightly_runs import (
    Line,
    Nights,
    name_of,
    write_history,
)

from melange.harness.runs.history import Key, read_history
from melange.reports.analysis.trends.trends import events
from melange.reports.render import render_trends


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


def test_a_mean_speed_takes_each_candidates_own_cut_and_leaves_open_loops_out(
    tmp_path: Path,
) -> None:
    cut = {"name": "8/128 (cut to 8/56)", "cut_from": "8/128", "output_tokens": 56}
    served = {"name": "serve@2/s", "request_rate": 2.0}

    def cut_for_one(night: int, line: Line) -> Line:
        mine = line["candidate"] == "candidate-1" and line.get("workload") == "8/128"
        return line | {"workload": cut["name"]} if mine else line

    nights = Nights(nights=3, candidates=2)
    changed = write_history(tmp_path / "changed", nights, cut_for_one)
    whole = write_history(tmp_path / "whole", nights)
    for night in range(3):
        rewrite(changed, night, lambda manifest: manifest["workloads"].extend(
            manifest["workloads"][0] | more for more in (cut, served)))  # fmt: skip
    mean = Key("total_tokens_per_sec", "candidate-1", "")
    found, expected = (all_trends(read_history(root))[mean] for root in (changed, whole))
    assert list(found.values_N) == list(expected.values_N)
