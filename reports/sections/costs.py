"""A candidate's speed on each workload, and its memory, size and build cost."""

from typing import Any

from melange.reports.cost_columns import workload_words
from melange.reports.load import Reading
from melange.reports.metrics import KNOWN, describe
from melange.reports.report import Report
from melange.reports.sections import Block
from melange.reports.units import scale_for, unit_kind

STATIC = (
    "weights_bytes",
    "kv_bytes_per_token",
    "peak_memory_bytes",
    "total_params",
    "active_params",
    "build_sec",
)


class Costs:
    page = "candidate"
    order = 30
    title = "Speed and memory"
    template = "sections/costs.html"

    def block(self, report: Report, subject: str) -> Block:
        workloads = list(report.run.workloads)
        return Block(
            data={
                "workloads": [(w, workload_words(report.run, w)) for w in workloads],
                "speed": _speed(report, subject, workloads),
                "static": _static(report, subject),
            }
        )


def _speed(report: Report, candidate: str, workloads: list[str]) -> list[dict[str, Any]]:
    """One row a metric. Every metric that any candidate has, so that pages can be compared."""
    metrics = report.run.timed
    known = [m for m in KNOWN if m in metrics]
    rest = [m for m in metrics if m not in known]
    return [_speed_row(report, candidate, metric, workloads) for metric in known + rest]


def _speed_row(report: Report, candidate: str, metric: str, workloads: list[str]) -> dict[str, Any]:
    cells = [report.run.read(candidate, metric, workload=w) for w in workloads]
    return {"metric": describe(metric), "cells": cells, "scale": _scale(report, metric, cells)}


def _static(report: Report, candidate: str) -> list[dict[str, Any]]:
    found = [
        m.metric
        for m in report.run.by_candidate[candidate]
        if not m.task and not m.workload and m.value is not None
    ]
    metrics = dict.fromkeys([*STATIC, *found])
    rows = []
    for metric in metrics:
        cell = report.run.read(candidate, metric)
        rows.append(
            {"metric": describe(metric), "cell": cell, "scale": _scale(report, metric, [cell])}
        )
    return rows


def _scale(report: Report, metric: str, cells: list[Reading]) -> Any:
    unit = report.run.units.get((metric, None), "")
    return scale_for(unit_kind(metric, unit), [cell.value for cell in cells])


SECTION = Costs()
