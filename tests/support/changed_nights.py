"""Nightly runs with planted changes, and their trends."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nightly_runs import (
    Line,
    Nights,
    manifest_of,
    name_of,
    write_manifest,
)

from melange.harness.runs.history import History, Key
from melange.reports.analysis.trends.trends import Trend, trends

NIGHTS = Nights(nights=40, candidates=2, tasks=2, workloads=2)


def change(**matches: Any) -> Callable[[int, float, int], Callable[[int, Line], Line]]:
    """An edit that multiplies matching lines by a factor, from a given night on."""

    def with_factor(first: int, factor: float, last: int = 10**6) -> Callable[[int, Line], Line]:
        def edit(night: int, line: Line) -> Line:
            if first <= night < last and all(line[key] == want for key, want in matches.items()):
                for part in ("value", "ci_low", "ci_high"):
                    line[part] = line[part] and line[part] * factor
            return line

        return edit

    return with_factor


def rewrite(root: Path, night: int, edit: Callable[[dict[str, Any]], None]) -> None:
    manifest = manifest_of(NIGHTS, night)
    edit(manifest)
    write_manifest(root / name_of(night), manifest)


def all_trends(history: History) -> dict[Key, Trend]:
    (nights,) = history.by_series().values()
    return {trend.key: trend for trend in trends(nights)}


def steps(history: History) -> dict[Key, list[int]]:
    return {
        key: [step.at for step in trend.steps]
        for key, trend in all_trends(history).items()
        if trend.steps
    }
