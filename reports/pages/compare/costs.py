"""Memory and build cost of both runs, where they differ."""

from typing import Any

from melange.reports.analysis.comparison import Change, Kind, Verdict
from melange.reports.metrics import describe
from melange.reports.page import Block, Section
from melange.reports.units import RATIO, scale_for, unit_kind
from melange.reports.view import RunView


def block(view: RunView, subject: str) -> Block | None:
    if view.comparison is None:
        return None
    compared = [one for one in view.comparison.of(Kind.MEMORY, Kind.BUILD) if one.value is not None]
    if not compared:
        return None
    metrics = dict.fromkeys(one.subject for one in compared)
    return Block(
        data={
            "tables": [_table(m, [c for c in compared if c.subject == m]) for m in metrics],
            "ratio": RATIO,
            "worse": Verdict.WORSE,
            "better": Verdict.BETTER,
        }
    )


def _table(metric: str, changes: list[Change]) -> dict[str, Any]:
    differing = [one for one in changes if one.value != 1.0]
    return {
        "metric": describe(metric),
        "scale": scale_for(unit_kind(metric, ""), [one.new.value for one in changes]),
        "rows": sorted(differing, key=lambda one: -(one.value or 0.0)),
        "num_same": len(changes) - len(differing),
    }


SECTION = Section("Memory and build cost", "sections/compare_costs.html", block)
