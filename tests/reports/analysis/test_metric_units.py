"""Units are declared: a count that looks like a share stays out of means, in any order."""

import json
from pathlib import Path

import pytest
from report_run import write_lines

from melange.harness.plan import undeclared
from melange.harness.records import Task
from melange.reports.analysis.board import scope_of_means
from melange.reports.analysis.run import load_run

COUNT, SHARE = "errors", "facts"


def task(name: str, metric: str, unit: str) -> Task:
    return Task(name=name, lm_eval=name, scale="public", domain=name, output_type="generate_until",
                primary_metric=metric, unit=unit, higher_is_better=name != COUNT)  # fmt: skip


def write(folder: Path, names: list[str], unit: str) -> Path:
    """The first candidate makes no errors, the other four in each answer. `unit`: as declared;
    without one, values have the units that earlier versions guessed."""
    tasks = [task(COUNT, "errors", unit), task(SHARE, "acc", unit and "fraction")]
    lines = []
    for name in names:
        errors = 0.0 if name == "good" else 4.0
        guessed = "fraction" if errors <= 1 else "value"
        for one, value, kind in ((COUNT, errors, unit or guessed), (SHARE, 1.0, "fraction")):
            lines.append({"schema_version": 2, "candidate": name, "family": "checkpoint",
                          "task": one, "metric": "errors" if one == COUNT else "acc",
                          "value": value, "unit": kind, "n": 40})  # fmt: skip
    folder.mkdir(parents=True)
    manifest = {"schema_version": 2, "tasks": [one.model_dump(mode="json") for one in tasks]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    write_lines(folder, lines)
    return folder


@pytest.mark.parametrize("unit", ["errors", ""])
@pytest.mark.parametrize("names", [["good", "bad"], ["bad", "good"]])
def test_a_count_stays_out_of_the_mean_in_every_order(
    tmp_path: Path, names: list[str], unit: str
) -> None:
    run = load_run(write(tmp_path / "run", names, unit))
    scope = scope_of_means(run)
    assert [one.name for one in scope.tasks] == [SHARE]
    assert "errors is no fraction" in scope.left_out[COUNT]


def test_a_metric_without_a_unit_is_refused_with_the_line_to_add() -> None:
    assert "the unit of errors is not known; declare it" in undeclared(task(COUNT, "errors", ""))
    assert "`unit: fraction`" in undeclared(task(COUNT, "errors", ""))
    assert undeclared(task(COUNT, "errors", "errors")) == ""
    assert undeclared(task(SHARE, "acc", "")) == ""
