"""Figures over workloads that differ in one number: requests at once, or requests per second."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from melange.harness.records import Workload
from melange.reports.analysis.run import Reading, Run
from melange.reports.figures.curves import Curve, Multiples, Panel, draw_multiples
from melange.reports.metrics import describe
from melange.reports.page import Block, Column, Table
from melange.reports.units import Scale, scale_for, unit_kind
from melange.reports.view import RunView


class Axis(NamedTuple):
    """The number in which the workloads differ."""

    of: Callable[[Workload], float]
    stem: str
    """The first word of files' names."""
    column: str
    """In files."""
    label: str


class Step(NamedTuple):
    """A candidate at one load."""

    candidate: str
    load: Workload
    reading: Reading


def figures(
    view: RunView,
    ladders: Sequence[Sequence[Workload]],
    metrics: Sequence[str],
    axis: Axis,
    words: str,
) -> Block | None:
    """A figure for each ladder and metric that was measured on it; None without any."""
    found = [
        figure(view, ladder, metric, axis)
        for ladder in ladders
        for metric in metrics
        if any(load.name in view.run.timed.get(metric, []) for load in ladder)
    ]
    if not found:
        return None
    tables = {one["stem"]: one["table"] for one in found}
    return Block(data={"figures": found, "words": words}, tables=tables)


def figure(view: RunView, ladder: Sequence[Workload], metric: str, axis: Axis) -> dict[str, Any]:
    steps = [
        Step(candidate, load, view.run.read(candidate, metric, workload=load.name))
        for candidate in view.run.families
        for load in ladder
    ]
    scale = scale_for(unit_kind(metric, ""), [one.reading.value for one in steps])
    label, over = describe(metric).label, axis.label[0].lower() + axis.label[1:]
    tokens = f"{ladder[0].prompt_tokens} prompt and {ladder[0].output_tokens} output tokens"
    lengths = f"{ladder[0].prompt_tokens}-{ladder[0].output_tokens}"
    stem = f"{axis.stem}-{metric}-{lengths}".replace("_", "-")
    plot = Multiples(
        name=stem,
        panels=_panels(view, steps, scale, axis),
        x_label=axis.label,
        y_label=f"{label} ({scale.label})",
        log_x=True,
        description=f"{label} over {over}; the values are in the linked CSV file.",
    )
    title = f"{label} over {over}, {'up to ' if ladder[0].mixed else ''}{tokens}"
    table = _table(view.run, steps, metric, axis)
    return {"stem": stem, "title": title, "svg": draw_multiples(plot), "table": table, "gaps": []}


def _table(run: Run, steps: Sequence[Step], metric: str, axis: Axis) -> Table:
    return Table(
        columns=[
            Column("candidate", lambda step: step.candidate),
            Column("family", lambda step: run.families[step.candidate]),
            Column("workload", lambda step: step.load.name),
            Column(axis.column, lambda step: axis.of(step.load)),
            Column("metric", lambda step: metric),
            Column("value", lambda step: step.reading),
        ],
        rows=steps,
    )


def _panels(view: RunView, steps: Sequence[Step], scale: Scale, axis: Axis) -> list[Panel]:
    """One panel per family."""
    known: dict[str, dict[str, list[Step]]] = {}
    for step in steps:
        if step.reading.value is not None:
            of_family = known.setdefault(view.run.families[step.candidate], {})
            of_family.setdefault(step.candidate, []).append(step)
    return [
        Panel(
            title=family,
            curves=[_curve(view, name, own, scale, axis) for name, own in curves.items()],
        )
        for family, curves in known.items()
    ]


def _curve(view: RunView, candidate: str, steps: Sequence[Step], scale: Scale, axis: Axis) -> Curve:
    bounds = [one.reading.bounds for one in steps]
    return Curve(
        label=candidate,
        style=view.style(candidate),
        x=[axis.of(one.load) for one in steps],
        y=[one.reading.known / scale.factor for one in steps],
        bounds=[(low / scale.factor, high / scale.factor) for low, high in bounds],
    )
