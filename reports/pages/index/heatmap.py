"""Every candidate on every task at a glance."""

from typing import Any

import pandas as pd

from melange.harness.records import Task
from melange.reports.analysis.aggregate import oriented
from melange.reports.analysis.run import Reading
from melange.reports.pages import Block
from melange.reports.view import Report

STEPS = 9


class Heatmap:
    page = "index"
    order = 40
    title = "Candidates by task"
    template = "sections/heatmap.html"

    def block(self, report: Report, subject: str) -> Block | None:
        if not report.run.tasks or not report.run.families:
            return None
        columns = [c for c in report.columns if c.group == "task"]
        rows = [
            {
                "candidate": name,
                "look": report.look(name),
                "cells": [_cell(report, column.cells[name].reading, task, column.scale.write)
                          for column, task in zip(columns, report.run.tasks, strict=True)],
            }
            for name in report.ranking
        ]  # fmt: skip
        return Block(
            data={"columns": columns, "rows": rows, "tasks": list(report.run.tasks.items()),
                  "steps": STEPS},
            tables={"accuracy-by-task": _frame(report)},
        )  # fmt: skip


def _cell(report: Report, reading: Reading, task: str, write: Any) -> dict[str, Any]:
    return {"reading": reading, "text": write(reading.value), "task": task,
            "step": heat(reading, report.run.tasks[task])}  # fmt: skip


def heat(reading: Reading, task: Task | None) -> int | None:
    """0 at chance or below, STEPS - 1 where all is right; None where the task has no such ends."""
    if reading.value is None or task is None or not 0 <= reading.value <= 1:
        return None
    value = oriented(reading, task).known
    floor = task.chance if task.higher_is_better else 1 - task.chance if task.chance else 0.0
    share = (value - floor) / (1 - floor) if floor < 1 else 0.0
    return round(min(1.0, max(0.0, share)) * (STEPS - 1))


def _frame(report: Report) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "candidate": candidate,
            "family": report.run.families[candidate],
            "task": task,
            "metric": report.run.primary_metric(task),
            "value": reading.value,
            "ci_low": reading.low,
            "ci_high": reading.high,
            "n": reading.n,
            "outcome": reading.outcome,
            "reason": reading.reason,
        }
        for candidate in report.ranking
        for task in report.run.tasks
        for reading in [report.run.quality(candidate, task)]
    )


SECTION = Heatmap()
