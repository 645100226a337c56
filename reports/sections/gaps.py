"""Every cell without a result, and why."""

from typing import Any

import pandas as pd

from reports.report import Report
from reports.sections import Block


class Gaps:
    page = "index"
    order = 50
    title = "Skipped and failed"
    template = "sections/gaps.html"

    def block(self, report: Report, subject: str) -> Block:
        rows = gaps(report)
        return Block(
            data={"groups": _grouped(rows), "count": len(rows)},
            tables={
                "skipped-and-failed": pd.DataFrame(
                    rows, columns=["candidate", "cell", "outcome", "reason"]
                )
            },
        )


def gaps(report: Report, candidate: str | None = None) -> list[dict[str, str]]:
    """Recorded gaps, then those that the plan refused without a record."""
    lines = report.run.measurements if candidate is None else report.run.by_candidate[candidate]
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
    refused = [
        {
            "candidate": c.candidate,
            "cell": c.task or "speed and memory",
            "outcome": "skipped",
            "reason": c.refused,
        }
        for c in report.run.manifest.cells
        if c.refused and not _covered(c.candidate, c.task, known, report)
    ]
    return [row for row in recorded + refused if candidate in (None, row["candidate"])]


def _covered(candidate: str, task: str | None, known: set[tuple[str, str]], report: Report) -> bool:
    if task is not None:
        return (candidate, task) in known
    cells = {"throughput", "memory", *report.run.workloads}
    return any((candidate, cell) in known for cell in cells)


def _grouped(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    """By outcome and reason, so that one cause reads as one line."""
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault((row["outcome"], row["reason"]), []).append(row)
    return [
        {"outcome": outcome, "reason": reason, "cells": cells}
        for (outcome, reason), cells in sorted(groups.items(), key=lambda item: item[0])
    ]


SECTION = Gaps()
