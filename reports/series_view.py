"""The data of trend pages: one series of runs, or all series of a folder."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from melange.harness.runs.history import (
    ACCURACY,
    COSTS,
    REVISION,
    SPEEDS,
    History,
    Night,
    Series,
)
from melange.harness.runs.layout import TRENDS
from melange.reports.analysis.trends.trends import WHOLE, Event, Trend, changes, events, trends
from melange.reports.metrics import Metric, describe
from melange.reports.page import PageFile, Table, slugs
from melange.reports.styles import FamilyStyle, family_styles
from melange.reports.tables.files import to_csv
from melange.reports.units import Scale, plural, scale_for, unit_kind

CLEAREST = 8
"""Steps shown per run: one cause moves many trends."""
METRICS = (ACCURACY, *SPEEDS, *COSTS)
WHOLES = {ACCURACY: "Mean over held-out tasks"} | dict.fromkeys(
    SPEEDS, "Geometric mean over workloads"
)
"""Headings of trends that are not of a single task or workload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepChange:
    """All steps at one run."""

    night: Night
    came_with: Sequence[str]
    events: Sequence[Event]
    """The clearest of them."""
    num_events: int


def _step_change(found: Sequence[Event]) -> StepChange:
    came_with = dict.fromkeys(change for event in found for change in event.came_with)
    clearest = sorted(found, key=lambda event: event.step.clarity, reverse=True)
    return StepChange(
        night=found[0].night,
        came_with=list(came_with),
        events=clearest[:CLEAREST],
        num_events=len(found),
    )


@dataclass(frozen=True)
class SeriesView:
    """One series of runs, with everything that its pages show."""

    series: Series
    nights: Sequence[Night]
    folder: str
    """Folder of its pages, below the folder of runs; ends in `/`."""

    kind = "series"

    @cached_property
    def trends(self) -> list[Trend]:
        return trends(self.nights)

    @cached_property
    def events(self) -> list[Event]:
        return events(self.trends, self.nights)

    @property
    def title(self) -> str:
        parts = [f"{self.series.suite or 'no suite'} on {self.series.zoo or 'no zoo'}"]
        parts += [f"seed {self.series.seed}"] if self.series.seed else []
        return ", ".join(parts)

    @cached_property
    def metrics(self) -> list[str]:
        present = {trend.key.metric for trend in self.trends}
        return [metric for metric in METRICS if metric in present]

    @cached_property
    def metric_slugs(self) -> dict[str, str]:
        return {metric: metric.replace("_", "-") for metric in self.metrics}

    @cached_property
    def pages(self) -> dict[str, PageFile]:
        """Pages by metric."""
        return {
            metric: PageFile(subject=metric, path=f"{self.folder}{stem}.html",
                             title=label(metric).label)
            for metric, stem in self.metric_slugs.items()
        }  # fmt: skip

    def table_files(self, stem: str, table: Table) -> Mapping[str, str]:
        return {f"{self.folder}{stem}.csv": to_csv(table)}

    def variables(self, page: PageFile) -> Mapping[str, Any]:
        return {"label": label}

    @cached_property
    def scales(self) -> dict[str, Scale]:
        return {metric: self._scale(metric) for metric in self.metrics}

    def _scale(self, metric: str) -> Scale:
        found = self.of(metric)
        newest = [float(one.values_N[one.known[-1]]) for one in found]
        return scale_for(unit_kind(metric, found[0].unit), newest)

    @cached_property
    def styles(self) -> dict[str, FamilyStyle]:
        return family_styles(trend.family for trend in self.trends)

    @cached_property
    def candidates(self) -> dict[str, str]:
        """Candidate -> family."""
        return {trend.key.candidate: trend.family for trend in self.trends}

    @cached_property
    def anchors(self) -> dict[tuple[str, ...], str]:
        names = {tuple(trend.key): "\0".join(trend.key) for trend in self.trends}
        unique = slugs(names.values())
        return {key: unique[name] for key, name in names.items()}

    def runs(self) -> Iterator[dict[str, Any]]:
        """Runs, newest first, with what changed since the run before, except the revision."""
        for at in reversed(range(len(self.nights))):
            night = self.nights[at]
            before = self.nights[at - 1].environment if at else night.environment
            told = changes(before, night.environment)
            yield {
                "night": night,
                "state": _state(night),
                "changes": [one for one in told if not one.startswith(REVISION)],
            }

    def recent(self, num_runs: int) -> str:
        """`2 steps for the worse, 1 for the better`."""
        found = Counter(one.trend.verdict(one.step) for one in self.events
                        if one.step.at >= len(self.nights) - num_runs)  # fmt: skip
        words = {"worse": "for the worse", "better": "for the better", "changed": "of other kinds"}
        told = [f"{plural(found[key], 'step')} {word}" for key, word in words.items() if found[key]]
        return ", ".join(told) or "no step"

    def step_changes(self, metric: str = "") -> list[StepChange]:
        """Runs with steps, in one metric or in any, the newest first."""
        found: dict[str, list[Event]] = {}
        for event in self.events:
            if metric in ("", event.trend.key.metric):
                found.setdefault(event.night.name, []).append(event)
        return [_step_change(own) for own in found.values()]

    def by_subject(self, metric: str) -> dict[str, list[Trend]]:
        """A page's trends by heading, means first."""
        found: dict[str, list[Trend]] = {}
        whole = WHOLES.get(metric, "All tasks and workloads")
        for trend in self.of(metric):
            found.setdefault(trend.key.subject or whole, []).append(trend)
        return found

    def of(self, metric: str, candidate: str = "") -> list[Trend]:
        return [one for one in self.trends
                if one.key.metric == metric and candidate in ("", one.key.candidate)]  # fmt: skip

    def overview(self, metric: str, candidate: str) -> Trend | None:
        return next((one for one in self.of(metric, candidate) if one.key.subject == WHOLE), None)


@dataclass(frozen=True)
class HistoryView:
    """A folder of runs: its series, and what could not be read."""

    history: History
    title: str

    kind = "history"
    folder = ""

    @cached_property
    def series(self) -> list[SeriesView]:
        by_series = self.history.by_series()
        names = slugs("\0".join(map(str, one)) for one in by_series).values()
        return [
            SeriesView(series, nights, f"{TRENDS}/{name}/")
            for name, (series, nights) in zip(names, by_series.items(), strict=True)
        ]

    def table_files(self, stem: str, table: Table) -> Mapping[str, str]:
        return {f"{stem}.csv": to_csv(table)}

    def variables(self, page: PageFile) -> Mapping[str, Any]:
        return {"label": label}


def label(metric: str) -> Metric:
    if metric == ACCURACY:
        return Metric(label="Accuracy", meaning="each task's primary metric")
    known = describe(metric)
    unit = " tokens/s" if metric.endswith("tokens_per_sec") else ""
    return Metric(label=f"{known.label}{unit}", meaning=known.meaning)


def _state(night: Night) -> str:
    told = [
        f"{plural(night.num_failed, 'cell')} failed" if night.num_failed else "",
        f"{plural(night.num_unmeasured, 'cell')} not measured" if not night.is_finished else "",
        night.note,
    ]
    return "; ".join(part for part in told if part) or "finished"
