"""Every candidate's score on a task, as a dot plot."""

from typing import Any

from melange.reports.analysis.run import Reading
from melange.reports.page import Block, Section
from melange.reports.units import Scale
from melange.reports.view import RunView


def block(view: RunView, subject: str) -> Block:
    column = view.column(f"task-{subject}")
    assert column is not None
    task = view.run.tasks[subject]
    found = {name: column.cells[name].reading for name in view.ranking}
    span = _span(list(found.values()), column.scale, task.chance_score if task else None)
    order = sorted(found, key=lambda name: _order(found[name], column.higher_is_better))
    return Block(
        data={
            "metric": view.run.primary_metric(subject),
            "scale": column.scale,
            "span": span,
            "chance": _at(task.chance_score, span) if task and task.chance_score else None,
            "rows": [_row(view, name, found[name], span) for name in order],
        }
    )


def _order(reading: Reading, higher_is_better: bool | None) -> tuple[bool, float]:
    if reading.value is None:
        return (True, 0.0)
    return (False, -reading.value if higher_is_better else reading.value)


def _span(readings: list[Reading], scale: Scale, chance: float | None) -> tuple[float, float]:
    """The axis: 0 to 1 for shares, from the lowest to the highest bound for other units."""
    bounds = [b for r in readings if r.value is not None for b in r.bounds]
    if scale.label == "%" or not bounds:
        return (min([0.0, *bounds]), max([1.0, *bounds]))
    low, high = min(bounds), max(bounds)
    return (low, high if high > low else low + 1.0)


def _at(value: float, span: tuple[float, float]) -> float:
    return round((value - span[0]) / (span[1] - span[0]) * 100, 2)


def _row(view: RunView, name: str, reading: Reading, span: tuple[float, float]) -> dict[str, Any]:
    bar = None
    if reading.value is not None:
        low, high = reading.bounds
        bar = {"low": _at(low, span), "at": _at(reading.value, span), "high": _at(high, span)}
    return {"candidate": name, "style": view.style(name), "reading": reading, "bar": bar}


SECTION = Section("Ranking", "sections/ranking.html", block)
