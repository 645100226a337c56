"""The best candidate within a reader's bounds on memory, speed and latency.

The page's script does the choosing (assets/chooser.js); this gives it the numbers.
"""

from typing import Any

from melange.harness.metrics import METRICS
from melange.reports.analysis.board import Standing
from melange.reports.analysis.run import Reading
from melange.reports.page import Block, Section
from melange.reports.tables.board_column import BoardColumn
from melange.reports.units import LADDERS, PERCENT, unit_kind
from melange.reports.view import RunView

BOUNDS = {one.name: one.bound for one in METRICS if one.bound}


def block(view: RunView, subject: str) -> Block | None:
    bounds = [bound for key in BOUNDS if (bound := _bound(view.column(key))) is not None]
    if not bounds or not any(row.mean for row in view.standings):
        return None
    places = {name: place for place, name in enumerate(view.ranking)}
    payload = {
        "bounds": [{key: bound[key] for key in ("key", "label", "most", "units", "unit")}
                   for bound in bounds],
        "candidates": [_candidate(view, row, bounds, places) for row in view.standings],
    }  # fmt: skip
    families = list(view.styles.values())
    return Block(data={"bounds": bounds, "families": families, "payload": payload})


def _bound(column: BoardColumn | None) -> dict[str, Any] | None:
    """None if no candidate has the number."""
    if column is None:
        return None
    values = [cell.reading.value for cell in column.cells.values()]
    known = [value for value in values if value is not None]
    if not known:
        return None
    scale = column.scale
    ladder = LADDERS.get(unit_kind(column.key, ""), ((scale.factor, scale.label),))
    units = [(label, factor) for factor, label in ladder]
    lowest, highest = scale.write(min(known)), scale.write(max(known))
    return {
        "key": column.key,
        "label": BOUNDS[column.key],
        "most": not column.higher_is_better,
        "units": units,
        "unit": [label for label, _ in units].index(scale.label),
        "range": f"measured: {lowest} to {highest} {scale.label}",
        "column": column,
    }


def _candidate(
    view: RunView, row: Standing, bounds: list[dict[str, Any]], places: dict[str, int]
) -> dict[str, Any]:
    """`values` has a number with its interval, or a text that says why there is none."""
    readings = {b["key"]: b["column"].cells[row.candidate].reading for b in bounds}
    return {
        "name": row.candidate,
        "href": f"candidates/{view.candidate_slugs[row.candidate]}.html",
        "family": row.family,
        "accuracy": _accuracy(row),
        "gap": _gap(row),
        "values": [_value(key, reading) for key, reading in readings.items()],
        "alike": [places[name] for name in view.evidence.alike(row.candidate)],
    }


def _value(key: str, reading: Reading) -> list[float] | str:
    """The number and the ends of its interval."""
    # A candidate that needs no build fits any bound on build time.
    if key == "build_sec" and reading.outcome == "unneeded":
        return [0.0, 0.0, 0.0]
    if reading.value is None:
        return f"{reading.outcome}: {reading.reason}"
    return [reading.value, *reading.bounds]


def _accuracy(row: Standing) -> str:
    if row.mean is None:
        return ""
    low, high = PERCENT.write(row.mean.low), PERCENT.write(row.mean.high)
    return f"{PERCENT.write(row.mean.value)} % ({low}–{high})"


def _gap(row: Standing) -> str:
    """Why the mean is not comparable with the others'."""
    if row.mean is None:
        return "no task completed"
    if row.stop:
        return "stopped by the race"
    return "" if row.mean.complete else f"{row.mean.tasks} of {row.mean.of_tasks} tasks"


SECTION = Section("Choose within bounds", "sections/chooser.html", block)
