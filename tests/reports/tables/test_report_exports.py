"""Exports of the report: CSV, Markdown, and results files that lm-eval's tools read."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_run import Shape, write_run

from melange.reports.analysis.run import Reading, load_run
from melange.reports.page import Column, Table, slugs
from melange.reports.render import render
from melange.reports.tables.files import to_csv, to_markdown


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    return render(write_run(tmp_path_factory.mktemp("exports") / "run", Shape())).parent


def test_every_table_is_there_as_csv_and_as_markdown(report):
    csv = {path.stem for path in (report / "data").glob("*.csv")}
    assert csv == {path.stem for path in (report / "data").glob("*.md")}
    assert {"leaderboard", "accuracy-by-task", "speed", "latency", "memory-split"} <= csv


@pytest.mark.parametrize("stem", ["leaderboard", "speed", "accuracy-by-task"])
def test_markdown_has_a_line_a_row_and_a_cell_a_column(report, stem):
    frame = pd.read_csv(report / "data" / f"{stem}.csv")
    lines = (report / "data" / f"{stem}.md").read_text().splitlines()
    assert len(lines) == len(frame) + 2
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_a_number_and_its_interval_are_one_cell_and_a_gap_is_its_reason():
    rows = {
        "a": Reading(value=0.5, low=0.4, high=0.6, n=24, reason=""),
        "b": Reading(outcome="failed", reason="broke"),
    }
    table = Table([Column("who", str), Column("acc", rows.get)], list(rows))
    assert to_markdown(table).splitlines() == [
        "| who | acc |", "| --- | --- |", "| a | 0.500 (0.400–0.600) |", "| b | broke |"
    ]  # fmt: skip
    assert to_csv(table).splitlines() == [
        "who,acc,acc_ci_low,acc_ci_high,acc_n,acc_gap", "a,0.5,0.4,0.6,24,", "b,,,,,broke"
    ]  # fmt: skip


@given(st.text())
def test_no_text_breaks_out_of_its_cell(text):
    line = to_markdown(Table([Column(text, str)], [text])).splitlines()
    assert len(line) == 3
    assert line[0] == line[2]
    assert line[0].replace("\\\\", "").replace("\\|", "").count("|") == 2
    assert "<" not in line[0]


def test_a_spreadsheet_runs_no_cell():
    assert to_csv(Table([Column("said", str)], ["=1+1"])) == "said\n'=1+1\n"


def test_lm_eval_reads_the_results_file(report):
    from lm_eval.utils import make_table

    run = load_run(report.parent)
    for candidate, slug in slugs(run.families).items():
        results = json.loads((report / "data" / "lm-eval" / f"{slug}.json").read_text())
        lines = [[cell.strip() for cell in x.split("|")] for x in make_table(results).splitlines()]
        for task, record in run.tasks.items():
            found = run.quality(candidate, task)
            if found.value is None:
                assert task not in results["results"]
                continue
            row = next(line for line in lines if line[1] == task)
            assert record.primary_metric in row
            assert f"{found.value:.4f}" in row
            assert results["n-samples"][task] == {"original": found.n, "effective": found.n}


def test_the_standard_error_is_that_of_the_samples(report):
    """As in lm-eval: the samples' standard deviation over sqrt(n), if there are samples."""
    run = load_run(report.parent)
    results = json.loads((report / "data" / "lm-eval" / "base.json").read_text())["results"]
    scores = run.scores("base", "knowledge").values_N
    error = scores.std(ddof=1) / math.sqrt(len(scores))
    assert results["knowledge"]["acc_stderr,none"] == pytest.approx(error)


def test_without_samples_there_is_no_standard_error(report):
    run = load_run(report.parent)
    last = list(run.families)[-1]
    path = report / "data" / "lm-eval" / f"{slugs(run.families)[last]}.json"
    errors = [
        value
        for of_task in json.loads(path.read_text())["results"].values()
        for name, value in of_task.items()
        if "_stderr" in name
    ]
    assert errors
    assert set(errors) == {"N/A"}
