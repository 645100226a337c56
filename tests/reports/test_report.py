"""Pages show all of a run's data, nothing else, and escape its text."""

import json
import math
import os
import re
import time
from pathlib import Path

import pandas as pd
import pytest
from places import ROOT
from rendered import ATTACK, lines_of, text_of
from report_run import Shape, write_cell, write_lines, write_run

from melange.harness.errors import HarnessError
from melange.harness.runs.current import current
from melange.harness.runs.reader import read_measurements
from melange.reports.analysis.run import load_run
from melange.reports.page import slugs
from melange.reports.render import render
from melange.reports.view import RunView

HERE = ROOT / "tests"
GOLDEN = HERE / "data" / "report"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("report") / "run", Shape())


@pytest.fixture(scope="module")
def pages(run) -> list[Path]:
    index = render(run)
    return [index, *index.parent.glob("candidates/*.html"), *index.parent.glob("tasks/*.html")]


@pytest.fixture
def small(tmp_path) -> Path:
    return write_run(tmp_path / "run", Shape(candidates=3, tasks=2, examples=4))


def test_a_page_for_the_run_each_candidate_and_each_task(pages):
    assert len(pages) == 1 + 8 + 6


def test_the_page_of_costs_has_every_candidate_on_every_workload(run, pages):
    frame = pd.read_csv(pages[0].parent / "data" / "speed.csv")
    loaded = load_run(run)
    rows = set(zip(frame["candidate"], frame["workload"], strict=True))
    assert rows == {(one, load) for one in loaded.families for load in loaded.workloads}
    for row in frame.to_dict("records"):
        found = loaded.read(row["candidate"], "tpot_sec", workload=row["workload"])
        assert found.value is None or found.value == row["tpot_sec"]
        assert found.value is not None or found.reason == row["tpot_sec_gap"]
    text = text_of(pages[0].with_name("costs.html"))
    assert all(name in text for name in (*loaded.families, *loaded.workloads))


def test_a_run_without_tasks_points_at_its_costs(run, tmp_path):
    manifest = json.loads((run / "manifest.json").read_text()) | {"tasks": []}
    manifest["cells"] = [cell for cell in manifest["cells"] if cell["task"] is None]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    write_lines(tmp_path, [line for line in lines_of(run) if not line.get("task")])
    index = render(tmp_path)
    assert "What its candidates cost is on the page of costs" in text_of(index)
    assert "What accuracy costs" not in text_of(index)


def test_no_page_shows_a_hole(pages):
    for page in pages:
        assert not re.search(r"\b(nan|none|null|undefined|inf)\b", text_of(page), re.I), page


def test_every_measurement_is_shown_on_its_candidates_page(run, pages):
    loaded = load_run(run)
    slug = slugs(loaded.families)
    texts = {c: text_of(run / "report" / "candidates" / f"{slug[c]}.html") for c in slug}
    for line in loaded.measurements:
        shown = line.reason if line.value is None else f"{line.value * 100:.1f}"
        if line.value is None or line.unit == "fraction":
            assert " ".join(shown.split()) in texts[line.candidate], line
    table = pd.read_csv(run / "report" / "data" / "measurements.csv")
    assert len(table) == len(lines_of(run))


def test_metrics_that_nobody_knows_are_shown_too(small):
    odd = {"candidate": "base", "family": "checkpoint", "unit": "widgets"}
    write_lines(small, [
        odd | {"metric": "odd_cost", "value": 7411.0},
        odd | {"metric": "odd_speed", "workload": "8/8", "value": 7412.0},
        odd | {"metric": "odd_score", "task": "knowledge", "value": 7413.0},
        odd | {"metric": "odd_score", "task": "a_new_task", "value": 7414.0},
        {**odd, "candidate": "a new one", "metric": "odd_cost", "value": 7415.0},
    ])  # fmt: skip
    index = render(small)
    text = text_of(index.parent / "candidates" / "base.html")
    assert all(f"7 {rest}" in text for rest in (411, 412, 413, 414))
    assert "7 415" in text_of(index.parent / "candidates" / "a-new-one.html")


def test_every_gap_has_its_reason_on_the_index(run, pages):
    text = text_of(pages[0])
    reasons = {line["reason"] for line in lines_of(run) if line.get("reason")}
    assert len(reasons) == 3
    assert all(reason in text for reason in reasons)


def test_model_output_is_text(small):
    rows = [{"example": 0, "prompt": ATTACK, "target": ATTACK, "response": ATTACK,
             "logprobs": None, "score": 0.0}]  # fmt: skip
    write_cell(small, "base", "knowledge", rows)
    lines = lines_of(small)
    write_lines(small, [*lines, {"candidate": ATTACK, "family": ATTACK, "metric": "memory",
                                 "outcome": "failed", "reason": ATTACK}])  # fmt: skip
    index = render(small)
    for page in index.parent.rglob("*.html"):
        assert "<script>document" not in page.read_text()
        assert "<img" not in page.read_text()
    assert ATTACK in text_of(index.parent / "candidates" / "base.html")
    assert ATTACK in text_of(index.parent / "tasks" / "knowledge.html")


def test_samples_that_are_missing_say_so(run, pages):
    last = list(load_run(run).families)[-1]
    page = run / "report" / "candidates" / f"{slugs([last])[last]}.html"
    assert "no samples were kept for this cell." in text_of(page)


def test_samples_that_cannot_be_read_are_a_gap_that_names_the_file(small):
    (small / "samples" / "base" / "knowledge.parquet").write_bytes(b"no parquet")
    index = render(small)
    page = text_of(index.parent / "candidates" / "base.html")
    assert "samples/base/knowledge.parquet cannot be read" in page
    assert "base: on some tasks its samples cannot be read" in text_of(index)


def test_a_torn_line_is_left_out_and_noted(small):
    path = small / "measurements.jsonl"
    whole = len(lines_of(small))
    path.write_text(path.read_text() + '{"candidate": "base", "metr')
    text = text_of(render(small))
    assert f"measurements.jsonl was cut in line {whole + 1}" in text


@pytest.mark.parametrize("name", ["manifest.json", "measurements.jsonl"])
def test_a_newer_schema_is_refused(small, name):
    path = small / name
    content = json.loads(path.read_text().splitlines()[0])
    path.write_text(json.dumps(content | {"schema_version": 99}) + "\n")
    with pytest.raises(HarnessError, match=f"{name} has schema 99; this version reads up to"):
        render(small)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(HarnessError, match=r"manifest\.json does not exist"):
        render(tmp_path)


def test_a_malformed_record_is_named_by_line(small):
    lines = lines_of(small)
    write_lines(small, [lines[0], lines[1] | {"metrics": "misspelt"}])
    with pytest.raises(HarnessError, match=r"measurements\.jsonl line 2: metrics"):
        render(small)


def test_a_run_without_results_renders_as_such(small):
    (small / "measurements.jsonl").unlink()
    text = text_of(render(small))
    assert "nothing has been measured yet" in text
    assert "nothing to rank" in text


def test_the_last_line_wins_and_a_completed_cell_ends_its_failures(tmp_path):
    line = {"candidate": "a", "family": "f"}
    failed = {"outcome": "failed", "reason": "out of memory"}
    write_lines(tmp_path, [
        line | {"task": "t", "metric": "acc", "value": 0.1},
        line | {"task": "t", "metric": "acc", "value": 0.2},
        line | {"task": "u", "metric": "acc"} | failed,
        line | {"task": "u", "metric": "f1", "value": 0.3},
        line | {"metric": "throughput"} | failed,
        line | {"workload": "8/8", "metric": "ttft_sec", "value": 0.4},
        line | {"metric": "memory"} | failed,
        line | {"metric": "total_params", "value": 5.0},
    ])  # fmt: skip
    kept = current(read_measurements(tmp_path / "measurements.jsonl")[0])
    assert [(m.metric, m.value) for m in kept] == [
        ("acc", 0.2), ("f1", 0.3), ("ttft_sec", 0.4), ("memory", None), ("total_params", 5.0)
    ]  # fmt: skip


def test_a_value_that_is_no_number_becomes_a_failure(small):
    (small / "measurements.jsonl").write_text(
        '{"candidate": "base", "family": "checkpoint", "task": "knowledge", "metric": "acc", '
        '"value": NaN, "ci_low": NaN, "n": 4}\n'
    )
    assert "acc came out as no finite number" in text_of(render(small))


def test_a_mean_over_fewer_tasks_ranks_after_the_complete_ones(small):
    lines = lines_of(small)
    best = lines[-1]["candidate"]
    for line in lines:
        if line["candidate"] == best and line.get("task") == "knowledge":
            line |= {"value": 1.0, "ci_low": 0.9, "ci_high": 1.0, "outcome": "completed"}
    kept = [x for x in lines if (x["candidate"], x.get("task")) != (best, "knowledge_shifted")]
    write_lines(small, kept)
    run = load_run(small)
    rows = RunView(run).standings
    assert rows[-1].candidate == best
    assert not rows[-1].mean.complete
    assert "mean over 1 of 2 tasks" in text_of(render(small))


def test_the_leader_is_compared_on_common_tasks_only(small):
    lines = [x for x in lines_of(small) if (x.get("task"), x["candidate"]) != ("knowledge", "base")]
    write_lines(small, lines)
    text = text_of(render(small))
    assert "on the 1 task of both" in text
    assert "1 of 2 tasks" in text


def test_speed_that_broke_as_a_whole_explains_every_column(small):
    lines = [x for x in lines_of(small) if x["candidate"] != "base" or x.get("task")]
    reason = "the checkpoint holds a tensor of the wrong shape"
    write_lines(small, [*lines, {"candidate": "base", "family": "checkpoint", "outcome": "failed",
                                 "metric": "throughput", "reason": reason}])  # fmt: skip
    run = load_run(small)
    for metric, workload in (("ttft_sec", "8/8"), ("weights_bytes", None), ("build_sec", None)):
        assert run.read("base", metric, workload=workload).reason == reason


def test_a_note_beside_a_score_is_on_the_board_and_on_the_candidates_page(small):
    note = "3 of 24 prompts lost their beginning to fit the context"
    noted = {"candidate": "base", "task": "knowledge"}
    lines = [x | {"reason": note} if x.items() >= noted.items() else x for x in lines_of(small)]
    write_lines(small, lines)
    index = render(small)
    assert note in text_of(index)
    assert note in text_of(index.parent / "candidates" / "base.html")


def test_a_checkpoint_that_needs_no_build_says_so(small):
    built = {"candidate": "base", "metric": "build_sec"}
    write_lines(small, [x for x in lines_of(small) if not x.items() >= built.items()])
    assert "not built" in text_of(render(small).with_name("costs.html"))


def test_a_task_of_misses_enters_the_mean_as_hits(small):
    manifest = json.loads((small / "manifest.json").read_text())
    manifest["tasks"][0]["higher_is_better"] = False
    (small / "manifest.json").write_text(json.dumps(manifest))
    run = load_run(small)
    row = next(r for r in RunView(run).standings if r.candidate == "base")
    first, second = (run.quality("base", t).value for t in run.tasks)
    assert row.mean.value == pytest.approx((1 - first + second) / 2)


def test_the_same_run_renders_to_the_same_bytes(small):
    def contents() -> dict[str, bytes]:
        out = render(small).parent
        return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}

    assert contents() == contents()


def test_a_stored_run_renders_to_the_stored_leaderboard(tmp_path):
    """After an intended change, MELANGE_WRITE_GOLDEN=1 stores the new page."""
    for name in ("manifest.json", "measurements.jsonl"):
        (tmp_path / name).write_text((GOLDEN / name).read_text())
    html = render(tmp_path).read_text()
    start = html.index('<table class="board"')
    table = html[start : html.index("</table>", start)] + "</table>\n"
    stored = GOLDEN / "leaderboard.html"
    if os.environ.get("MELANGE_WRITE_GOLDEN"):
        stored.write_text(table)
    assert table == stored.read_text()


@pytest.mark.slow
def test_twice_the_candidates_take_about_twice_the_time(tmp_path):
    """The bound is three times the time: quadratic growth would take four.

    The time itself depends on the machine, so a benchmark looks at it (`make guard`).
    """
    spent = {20: math.inf, 40: math.inf}
    for number in (20, 40, 20, 40):
        folder = write_run(tmp_path / str(number), Shape(candidates=number, tasks=10, examples=20))
        start = time.process_time()
        index = render(folder)
        spent[number] = min(spent[number], time.process_time() - start)
        assert index.stat().st_size < 1e6
    assert spent[40] < 3 * spent[20]
