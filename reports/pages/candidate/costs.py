"""A candidate's speed on each workload, and its memory, size and build cost."""

from collections.abc import Iterable
from typing import Any

from melange.harness.metrics import headline, of_group
from melange.reports.analysis.run import Reading
from melange.reports.metrics import KNOWN, describe
from melange.reports.pages import Block
from melange.reports.tables.cost_columns import workload_words
from melange.reports.units import scale_for, unit_kind
from melange.reports.view import Report

STATIC = (
    "weights_bytes",
    "kv_bytes_per_token",
    headline("memory"),
    *(one.name for one in of_group("size")),
    headline("build"),
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
    metrics = _in_order(report.run.timed)
    return [_speed_row(report, candidate, metric, workloads) for metric in metrics]


def _in_order(metrics: Iterable[str]) -> list[str]:
    """As they are declared; what this version does not know comes last."""
    places = {metric: at for at, metric in enumerate(KNOWN)}
    return sorted(metrics, key=lambda metric: places.get(metric, len(places)))


def _speed_row(report: Report, candidate: str, metric: str, workloads: list[str]) -> dict[str, Any]:
    cells = [report.run.read(candidate, metric, workload=w) for w in workloads]
    return {"metric": describe(metric), "cells": cells, "scale": _scale(report, metric, cells)}


def _static(report: Report, candidate: str) -> list[dict[str, Any]]:
    found = [
        m.metric
        for m in report.run.by_candidate[candidate]
        if not m.task and not m.workload and m.value is not None
    ]
    metrics = dict.fromkeys([*STATIC, *_in_order(found)])
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
