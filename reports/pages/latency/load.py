"""Throughput and latency by number of concurrent requests.

Workloads that differ only in that number form one curve.
"""

from typing import Any, NamedTuple

from melange.harness.records import Workload
from melange.reports.analysis.run import Reading, Run
from melange.reports.figures.curves import Curve, Multiples, Panel, draw_multiples
from melange.reports.metrics import describe
from melange.reports.page import Block, Column, Section, Table
from melange.reports.units import Scale, scale_for, unit_kind
from melange.reports.view import RunView

METRICS = ("total_tokens_per_sec", "latency_sec")
WORDS = (
    "Each line is a candidate, each panel a family. The axis of requests at once is logarithmic; "
    "bars are 95 % intervals."
)


def block(view: RunView, subject: str) -> Block | None:
    ladders = load_ladders(view.run)
    figures = [
        _figure(view, ladder, metric)
        for ladder in ladders
        for metric in METRICS
        if any(load.name in view.run.timed.get(metric, []) for load in ladder)
    ]
    if not figures:
        return None
    return Block(
        data={"figures": figures, "words": WORDS},
        tables={figure["stem"]: figure["table"] for figure in figures},
    )


def load_ladders(run: Run) -> list[list[Workload]]:
    """Groups of two or more workloads that differ only in `num_requests`, sorted by it."""
    found: dict[tuple[int, int, bool], dict[int, Workload]] = {}
    for load in run.workloads.values():
        if load is not None:
            alike = (load.prompt_tokens, load.output_tokens, load.mixed)
            found.setdefault(alike, {}).setdefault(load.num_requests, load)
    return [[steps[n] for n in sorted(steps)] for steps in found.values() if len(steps) > 1]


class Step(NamedTuple):
    """A candidate at one load."""

    candidate: str
    load: Workload
    reading: Reading


def _figure(view: RunView, ladder: list[Workload], metric: str) -> dict[str, Any]:
    steps = [
        Step(candidate, load, view.run.read(candidate, metric, workload=load.name))
        for candidate in view.run.families
        for load in ladder
    ]
    scale = scale_for(unit_kind(metric, ""), [one.reading.value for one in steps])
    known = describe(metric)
    shape = f"{ladder[0].prompt_tokens} prompt and {ladder[0].output_tokens} output tokens"
    stem = f"load-{metric.replace('_', '-')}-{ladder[0].prompt_tokens}-{ladder[0].output_tokens}"
    plot = Multiples(
        name=stem,
        panels=_panels(view, steps, scale),
        x_label="Requests at once",
        y_label=f"{known.label} ({scale.label})",
        log_x=True,
        description=f"{known.label} over the number of requests at once; the values are in the "
        "linked CSV file.",
    )
    title = f"{known.label} over requests at once, {'up to ' if ladder[0].mixed else ''}{shape}"
    table = _table(view.run, steps, metric)
    return {"stem": stem, "title": title, "svg": draw_multiples(plot), "table": table, "gaps": []}


def _table(run: Run, steps: list[Step], metric: str) -> Table:
    return Table(
        columns=[
            Column("candidate", lambda step: step.candidate),
            Column("family", lambda step: run.families[step.candidate]),
            Column("workload", lambda step: step.load.name),
            Column("num_requests", lambda step: step.load.num_requests),
            Column("metric", lambda step: metric),
            Column("value", lambda step: step.reading),
        ],
        rows=steps,
    )


def _panels(view: RunView, steps: list[Step], scale: Scale) -> list[Panel]:
    """One panel per family."""
    known: dict[str, dict[str, list[Step]]] = {}
    for step in steps:
        if step.reading.value is not None:
            of_family = known.setdefault(view.run.families[step.candidate], {})
            of_family.setdefault(step.candidate, []).append(step)
    return [
        Panel(
            title=family,
            curves=[_curve(view, candidate, own, scale) for candidate, own in curves.items()],
        )
        for family, curves in known.items()
    ]


def _curve(view: RunView, candidate: str, steps: list[Step], scale: Scale) -> Curve:
    bounds = [one.reading.bounds for one in steps]
    return Curve(
        label=candidate,
        style=view.style(candidate),
        x=[one.load.num_requests for one in steps],
        y=[one.reading.known / scale.factor for one in steps],
        bounds=[(low / scale.factor, high / scale.factor) for low, high in bounds],
    )


SECTION = Section("Speed under load", "sections/figures.html", block)
