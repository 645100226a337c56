"""Every cell without a result, and why: skipped, failed, still to come, or never reached."""

from operator import itemgetter
from typing import Any

from melange.reports.page import Block, Column, Section, Table
from melange.reports.units import plural
from melange.reports.view import RunView

WITHOUT_TASK = "speed and memory"
NAMES = {"absent": "not run"}
KEYS = ("candidate", "cell", "outcome", "reason")
NAMED = 3
"""Cells of a candidate that are named; if there are more, only their number is given."""


def block(view: RunView, subject: str) -> Block:
    rows = recorded_gaps(view) + waiting_gaps(view)
    return Block(
        data={"groups": _grouped(rows), "count": len(rows)},
        tables={
            "skipped-and-failed": Table(
                [
                    Column(key, itemgetter(key))
                    for key in ("candidate", "cell", "outcome", "reason")
                ],
                rows,
            )
        },
    )


def recorded_gaps(view: RunView, candidate: str | None = None) -> list[dict[str, str]]:
    """Gaps of one candidate, or of all: those with a record, then those that the plan refused."""
    lines = view.run.measurements if candidate is None else view.run.by_candidate[candidate]
    recorded = [
        {
            "candidate": m.candidate,
            "cell": m.task or m.workload or m.metric,
            "outcome": str(m.outcome),
            "reason": m.reason or "no reason was recorded",
        }
        for m in lines
        if m.value is None
    ]
    known = {(row["candidate"], row["cell"]) for row in recorded}
    return recorded + [
        {
            "candidate": c.candidate,
            "cell": c.task or WITHOUT_TASK,
            "outcome": "skipped",
            "reason": c.refused,
        }
        for c in view.run.manifest.cells
        if c.refused
        and candidate in (None, c.candidate)
        and not _covered(c.candidate, c.task, known, view)
    ]


def waiting_gaps(view: RunView, candidate: str | None = None) -> list[dict[str, str]]:
    """Cells that are pending, or were never reached."""
    why = view.run.not_reached
    return [
        {
            "candidate": name,
            "cell": task or WITHOUT_TASK,
            "outcome": NAMES.get(why.outcome, why.outcome),
            "reason": why.reason,
        }
        for name, task in view.run.planned
        if (name, task) in view.run.waiting and candidate in (None, name)
    ]


def _covered(candidate: str, task: str | None, known: set[tuple[str, str]], view: RunView) -> bool:
    if task is not None:
        return (candidate, task) in known
    cells = {"throughput", "memory", *view.run.workloads}
    return any((candidate, cell) in known for cell in cells)


def _grouped(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    """By outcome and reason, so that one cause is one line, then by candidate."""
    groups: dict[tuple[str, str], dict[str, list[str]]] = {}
    for row in rows:
        cells = groups.setdefault((row["outcome"], row["reason"]), {})
        cells.setdefault(row["candidate"], []).append(row["cell"])
    return [
        {"outcome": outcome, "reason": reason, "cells": _named(cells)}
        for (outcome, reason), cells in sorted(groups.items(), key=lambda item: item[0])
    ]


def _named(cells: dict[str, list[str]]) -> list[tuple[str, str]]:
    """Candidates with their cells, named if they are few."""
    return [
        (candidate, ", ".join(names) if len(names) <= NAMED else plural(len(names), "cell"))
        for candidate, names in cells.items()
    ]


SECTION = Section("Skipped and failed", "sections/gaps.html", block)
