"""A candidate's score on each task, with the difference to the checkpoint it started from."""

from typing import Any

from melange.harness.records import Measurement
from melange.reports.analysis.contrasts import Contrast
from melange.reports.analysis.goals import goal
from melange.reports.analysis.run import reading
from melange.reports.page import Block, Section
from melange.reports.units import POINTS, Scale, scale_for, unit_kind
from melange.reports.view import RunView


def block(view: RunView, subject: str) -> Block:
    base = view.bases.get(subject)
    standing = next(row for row in view.standings if row.candidate == subject)
    return Block(
        data={
            "rows": [_row(view, subject, base, task) for task in view.run.tasks],
            "others": _others(view, subject),
            "base": base,
            "standing": standing,
            "num_ranked": len(view.evidence.ranked),
            "alike": view.evidence.alike(subject),
            "gap_closed": view.evidence.gap_closed(subject),
            "retained": view.evidence.retained(subject),
            "goal": goal(view.run, subject),
        }
    )


def _row(view: RunView, candidate: str, base: str | None, name: str) -> dict[str, Any]:
    found = view.run.quality(candidate, name)
    column = view.column(f"task-{name}")
    assert column is not None
    against = view.evidence.on_task(candidate, base, name) if base else None
    scale = column.scale
    return {
        "name": name,
        "task": view.run.tasks[name],
        "metric": view.run.primary_metric(name) or "",
        "reading": found,
        "scale": scale,
        "difference": against,
        "difference_scale": POINTS if scale.label == "%" else scale,
        "good": _good(against, column.higher_is_better),
    }


def _good(against: Contrast | None, higher_is_better: bool | None) -> str:
    """`better`, `worse`, or `unclear` if the interval of the difference contains 0."""
    if against is None or against.verdict not in ("higher", "lower"):
        return "unclear"
    return "better" if (against.verdict == "higher") == bool(higher_is_better) else "worse"


def _others(view: RunView, candidate: str) -> list[dict[str, Any]]:
    """The tasks' other metrics."""
    return [
        {"line": line, "reading": reading(line), "scale": _scale(line)}
        for line in view.run.by_candidate[candidate]
        if line.task in view.run.tasks
        and line.value is not None
        and (line.workload or line.metric != view.run.primary_metric(line.task))
    ]


def _scale(line: Measurement) -> Scale:
    return scale_for(unit_kind(line.metric, line.unit), [line.value])


SECTION = Section("Scores", "sections/scores.html", block)
