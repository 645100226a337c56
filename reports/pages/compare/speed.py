"""Ratio of this run's speed to the baseline's, without the drift of the machine."""

from typing import Any

from melange.reports.analysis.comparison import Change, Kind, Verdict
from melange.reports.page import Block, Section
from melange.reports.units import RATIO, scale_for
from melange.reports.view import RunView


def block(view: RunView, subject: str) -> Block | None:
    if view.comparison is None:
        return None
    changes = view.comparison.of(Kind.SPEED, Kind.WORKLOAD)
    if not changes:
        return None
    workloads = list(dict.fromkeys(one.subject for one in changes if one.subject))
    speeds = [r.value for one in changes for r in (one.old, one.new)]
    return Block(
        data={
            "engine": next(iter(view.comparison.of(Kind.ENGINE)), None),
            "workloads": workloads,
            "rows": _rows(changes, workloads),
            "ratio": RATIO,
            "scale": scale_for("tokens/s", speeds),
            "worse": Verdict.WORSE,
            "better": Verdict.BETTER,
            "num_judged": sum(one.p_value is not None for one in changes),
        }
    )


def _rows(changes: list[Change], workloads: list[str]) -> list[dict[str, Any]]:
    """The largest changes first."""
    cells = {(one.candidate, one.subject): one for one in changes}
    rows = [
        {
            "candidate": candidate,
            "overall": cells.get((candidate, "")),
            "cells": [cells.get((candidate, workload)) for workload in workloads],
        }
        for candidate in dict.fromkeys(one.candidate for one in changes)
    ]
    return sorted(rows, key=lambda row: row["overall"].value if row["overall"] else 2.0)


SECTION = Section("Speed", "sections/compare_speed.html", block)
