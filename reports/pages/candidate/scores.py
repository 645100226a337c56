"""A candidate's score on each task, with the difference to the checkpoint it started from."""

from typing import Any

from melange.harness.records import Measurement
from melange.reports.analysis.contrasts import Contrast
from melange.reports.analysis.goals import goal
from melange.reports.analysis.run import reading
from melange.reports.pages import Block
from melange.reports.units import POINTS, Scale, scale_for, unit_kind
from melange.reports.view import Report


class Scores:
    page = "candidate"
    order = 20
    title = "Scores"
    template = "sections/scores.html"

    def block(self, report: Report, subject: str) -> Block:
        base = report.references.get(subject)
        standing = next(row for row in report.standings if row.candidate == subject)
        return Block(
            data={
                "rows": [_row(report, subject, base, task) for task in report.run.tasks],
                "others": _others(report, subject),
                "base": base,
                "standing": standing,
                "num_ranked": len(report.evidence.ranked),
                "alike": report.evidence.alike(subject),
                "gap_closed": report.evidence.gap_closed(subject),
                "retained": report.evidence.retained(subject),
                "goal": goal(report.run, subject),
            }
        )


def _row(report: Report, candidate: str, base: str | None, name: str) -> dict[str, Any]:
    found = report.run.quality(candidate, name)
    column = report.column(f"task-{name}")
    assert column is not None
    against = report.evidence.on_task(candidate, base, name) if base else None
    scale = column.scale
    return {
        "name": name,
        "task": report.run.tasks[name],
        "metric": report.run.primary_metric(name) or "",
        "reading": found,
        "scale": scale,
        "difference": against,
        "difference_scale": POINTS if scale.label == "%" else scale,
        "good": _good(against, column.higher_is_better),
    }


def _good(against: Contrast | None, higher_is_better: bool | None) -> str:
    """`better`, `worse`, or `unclear` where the interval of the difference holds 0."""
    if against is None or against.verdict not in ("higher", "lower"):
        return "unclear"
    return "better" if (against.verdict == "higher") == bool(higher_is_better) else "worse"


def _others(report: Report, candidate: str) -> list[dict[str, Any]]:
    """The tasks' further metrics."""
    return [
        {"line": line, "reading": reading(line), "scale": _scale(line)}
        for line in report.run.by_candidate[candidate]
        if line.task is not None
        and line.value is not None
        and (line.workload or line.metric != report.run.primary_metric(line.task))
    ]


def _scale(line: Measurement) -> Scale:
    return scale_for(unit_kind(line.metric, line.unit), [line.value])


SECTION = Scores()
