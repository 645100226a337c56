"""Throughput and latency over the number of requests at once.

Workloads that differ only in that number are one curve.
"""

from typing import Any

import pandas as pd

from melange.harness.records import Workload
from melange.reports.analysis.run import Run
from melange.reports.figures.curves import Curve, Multiples, Panel, draw_multiples
from melange.reports.metrics import describe
from melange.reports.pages import Block
from melange.reports.units import Scale, scale_for, unit_kind
from melange.reports.view import Report

METRICS = ("total_tokens_per_sec", "latency_sec")
WORDS = (
    "Each line is a candidate, each panel a family. The axis of requests at once is logarithmic; "
    "bars are 95 % intervals."
)


class Load:
    page = "latency"
    order = 20
    title = "Speed under load"
    template = "sections/figures.html"

    def block(self, report: Report, subject: str) -> Block | None:
        ladders = load_ladders(report.run)
        figures = [
            _figure(report, ladder, metric)
            for ladder in ladders
            for metric in METRICS
            if any(load.name in report.run.timed.get(metric, []) for load in ladder)
        ]
        if not figures:
            return None
        return Block(
            data={"figures": figures, "words": WORDS},
            tables={figure["stem"]: figure["frame"] for figure in figures},
        )


def load_ladders(run: Run) -> list[list[Workload]]:
    """Workloads alike but for `num_requests`, by that number; two or more of them."""
    found: dict[tuple[int, int, bool], dict[int, Workload]] = {}
    for load in run.workloads.values():
        if load is not None:
            alike = (load.prompt_tokens, load.output_tokens, load.mixed)
            found.setdefault(alike, {}).setdefault(load.num_requests, load)
    return [[steps[n] for n in sorted(steps)] for steps in found.values() if len(steps) > 1]


def _figure(report: Report, ladder: list[Workload], metric: str) -> dict[str, Any]:
    frame = _frame(report, ladder, metric)
    scale = scale_for(unit_kind(metric, ""), frame["value"])
    known = describe(metric)
    shape = f"{ladder[0].prompt_tokens} prompt and {ladder[0].output_tokens} output tokens"
    stem = f"load-{metric.replace('_', '-')}-{ladder[0].prompt_tokens}-{ladder[0].output_tokens}"
    plot = Multiples(
        name=stem,
        panels=_panels(report, frame, scale),
        x_label="Requests at once",
        y_label=f"{known.label} ({scale.label})",
        log_x=True,
        description=f"{known.label} over the number of requests at once; the values are in the "
        "linked CSV file.",
    )
    title = f"{known.label} over requests at once, {'up to ' if ladder[0].mixed else ''}{shape}"
    return {"stem": stem, "title": title, "svg": draw_multiples(plot), "frame": frame, "gaps": []}


def _frame(report: Report, ladder: list[Workload], metric: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "candidate": candidate,
            "family": family,
            "workload": load.name,
            "num_requests": load.num_requests,
            "metric": metric,
            "value": reading.value,
            "value_ci_low": reading.low,
            "value_ci_high": reading.high,
            "value_gap": reading.reason,
        }
        for candidate, family in report.run.families.items()
        for load in ladder
        for reading in [report.run.read(candidate, metric, workload=load.name)]
    )


def _panels(report: Report, frame: pd.DataFrame, scale: Scale) -> list[Panel]:
    known = frame[frame["value"].notna()]
    return [
        Panel(
            title=str(family),
            curves=[
                _curve(report, str(name), rows, scale)
                for name, rows in of_family.groupby("candidate", sort=False)
            ],
        )
        for family, of_family in known.groupby("family", sort=False)
    ]


def _curve(report: Report, candidate: str, rows: pd.DataFrame, scale: Scale) -> Curve:
    low = rows["value_ci_low"].fillna(rows["value"]) / scale.factor
    high = rows["value_ci_high"].fillna(rows["value"]) / scale.factor
    return Curve(
        label=candidate,
        look=report.look(candidate),
        x=list(rows["num_requests"]),
        y=list(rows["value"] / scale.factor),
        bounds=list(zip(low, high, strict=True)),
    )


SECTION = Load()
