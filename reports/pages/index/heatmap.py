"""Every candidate on every task at a glance."""

from itertools import product
from typing import Any

from melange.harness.records import Task
from melange.harness.task_metrics import FRACTION
from melange.reports.analysis.aggregate import oriented
from melange.reports.analysis.run import Reading
from melange.reports.page import Block, Column, Section, Table
from melange.reports.view import RunView

STEPS = 9


def block(view: RunView, subject: str) -> Block | None:
    if not view.run.tasks or not view.run.families:
        return None
    columns = [c for c in view.columns if c.group == "task"]
    rows = [
        {
            "candidate": name,
            "style": view.style(name),
            "cells": [_cell(view, column.cells[name].reading, task, column.scale.write)
                      for column, task in zip(columns, view.run.tasks, strict=True)],
        }
        for name in view.ranking
    ]  # fmt: skip
    return Block(
        data={"columns": columns, "rows": rows, "tasks": list(view.run.tasks.items()),
              "steps": STEPS},
        tables={"accuracy-by-task": _table(view)},
    )  # fmt: skip


def _cell(view: RunView, reading: Reading, task: str, write: Any) -> dict[str, Any]:
    return {"reading": reading, "text": write(reading.value), "task": task,
            "step": heat(reading, view.run.tasks[task])}  # fmt: skip


def heat(reading: Reading, task: Task | None) -> int | None:
    """0 at chance or below, STEPS - 1 for a perfect score; None if the task has no such range."""
    if reading.value is None or task is None or not is_share(task, reading):
        return None
    value = oriented(reading, task).known
    guessed = task.chance_score
    floor = guessed if task.higher_is_better else 1 - guessed if guessed else 0.0
    share = (value - floor) / (1 - floor) if floor < 1 else 0.0
    return round(min(1.0, max(0.0, share)) * (STEPS - 1))


def is_share(task: Task, reading: Reading) -> bool:
    """Runs of earlier versions do not declare units."""
    return task.unit in ("", FRACTION) and 0 <= reading.known <= 1


def _table(view: RunView) -> Table:
    """One row per candidate and task."""
    run = view.run
    return Table(
        columns=[
            Column("candidate", lambda row: row[0]),
            Column("family", lambda row: run.families[row[0]]),
            Column("task", lambda row: row[1]),
            Column("metric", lambda row: run.primary_metric(row[1])),
            Column("value", lambda row: run.quality(*row)),
            Column("outcome", lambda row: run.quality(*row).outcome),
        ],
        rows=list(product(view.ranking, run.tasks)),
    )


SECTION = Section("Candidates by task", "sections/heatmap.html", block)
