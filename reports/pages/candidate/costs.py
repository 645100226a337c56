"""A candidate's speed on each workload, and its memory, size and build cost."""

from collections.abc import Iterable
from typing import Any

from melange.harness.metrics import of_group
from melange.reports.analysis.run import Reading
from melange.reports.metrics import KNOWN, describe
from melange.reports.page import Block, Section
from melange.reports.tables.cost_columns import workload_words
from melange.reports.units import scale_for, unit_kind
from melange.reports.view import RunView

PARTS = ("weights_bytes", "kv_bytes_per_token")


def block(view: RunView, subject: str) -> Block:
    workloads = list(view.run.workloads)
    return Block(
        data={
            "workloads": [(w, workload_words(view.run, w)) for w in workloads],
            "speed": _speed(view, subject, workloads),
            "static": _static(view, subject),
        }
    )


def _speed(view: RunView, candidate: str, workloads: list[str]) -> list[dict[str, Any]]:
    """One row per metric that any candidate has, so that candidates' pages are alike."""
    metrics = _in_order(view.run.timed)
    return [_speed_row(view, candidate, metric, workloads) for metric in metrics]


def _in_order(metrics: Iterable[str]) -> list[str]:
    """In the order of declaration; metrics unknown to this version come last."""
    places = {metric: at for at, metric in enumerate(KNOWN)}
    return sorted(metrics, key=lambda metric: places.get(metric, len(places)))


def _speed_row(view: RunView, candidate: str, metric: str, workloads: list[str]) -> dict[str, Any]:
    cells = [view.run.read(candidate, metric, workload=w) for w in workloads]
    return {"metric": describe(metric), "cells": cells, "scale": _scale(view, metric, cells)}


def _static(view: RunView, candidate: str) -> list[dict[str, Any]]:
    found = [
        m.metric
        for m in view.run.by_candidate[candidate]
        if not m.task and not m.workload and m.value is not None
    ]
    sizes = (one.name for one in of_group("size"))
    headlines = view.run.headline("memory"), view.run.headline("build")
    metrics = dict.fromkeys([headlines[0], *PARTS, *sizes, headlines[1], *_in_order(found)])
    rows = []
    for metric in metrics:
        cell = view.run.read(candidate, metric)
        rows.append(
            {"metric": describe(metric), "cell": cell, "scale": _scale(view, metric, [cell])}
        )
    return rows


def _scale(view: RunView, metric: str, cells: list[Reading]) -> Any:
    unit = view.run.units.get((metric, None), "")
    return scale_for(unit_kind(metric, unit), [cell.value for cell in cells])


SECTION = Section("Speed and memory", "sections/costs.html", block)
