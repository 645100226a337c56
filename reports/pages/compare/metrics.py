"""Which metrics a comparison judges, how much worse each may get, and which it does not judge."""

from typing import Any

from melange.harness.measure.metric import Metric
from melange.harness.metrics import METRICS
from melange.reports.page import Block, Section
from melange.reports.units import PERCENT
from melange.reports.view import RunView


def block(view: RunView, subject: str) -> Block | None:
    if view.comparison is None:
        return None
    return Block(data={"rows": [_row(one) for one in METRICS]})


def _row(metric: Metric) -> dict[str, Any]:
    return {"label": metric.label, "meaning": metric.meaning, "judged": _judged(metric)}


def _judged(metric: Metric) -> str:
    if metric.tolerance is None:
        return f"not judged: {metric.ungated}"
    percent = PERCENT.write(metric.tolerance - 1)
    if metric.judged_by == "rounds":
        tails = ", median and p90" if metric.summary == "percentiles" else ""
        return f"from the rounds{tails}: worse if significantly more than {percent} %"
    return f"as recorded: worse if by more than {percent} %" if metric.tolerance > 1 else "exact"


SECTION = Section("What is judged", "sections/compare_metrics.html", block)
