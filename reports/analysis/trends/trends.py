"""Trends in a history: each number over the runs, its steps, and what changed with them.

Shape letter: N runs of a series, oldest first; NaN where a run lacks the number.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from melange.harness.runs.history import ACCURACY, SPEEDS, Key, Night, Point
from melange.harness.task_metrics import FRACTION
from melange.harness.workloads import asked_name
from melange.reports.analysis.trends.sharing import widening
from melange.reports.analysis.trends.steps import Step, find_steps

WHOLE = ""
"""The subject of a mean: over the held-out tasks, or over the workloads."""
MEAN_SPLIT = "held_out"
OTHER_MACHINE = math.log(1.05)
"""Log ratio of two runs' calibrations above which a step mentions the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    key: Key
    family: str
    unit: str
    higher_is_better: bool | None
    values_N: np.ndarray
    low_N: np.ndarray
    high_N: np.ndarray
    counts_N: np.ndarray
    """Each value's n; NaN if it has none."""
    breaks: tuple[int, ...]
    """Runs at which the same name starts to measure something else: no comparison crosses them."""
    steps: tuple[Step, ...] = ()

    @property
    def known(self) -> np.ndarray:
        """Indices of runs that have a value."""
        return np.flatnonzero(~np.isnan(self.values_N))

    @property
    def levels(self) -> Iterator[tuple[int, int, float]]:
        """First run, last run and value of each stretch without a step or a break."""
        cuts = sorted({0, len(self.values_N), *self.breaks, *(step.at for step in self.steps)})
        after = {step.at: step.after for step in self.steps}
        before = {step.at: step.before for step in self.steps}
        for start, end in pairwise(cuts):
            known = self.known[(self.known >= start) & (self.known < end)]
            if len(known):
                mean = float(np.mean(self.values_N[known]))
                level = after.get(start, before.get(end, mean))
                yield int(known[0]), int(known[-1]), level

    def verdict(self, step: Step) -> str:
        """`better`, `worse`, or `changed` if the metric has no direction."""
        if self.higher_is_better is None:
            return "changed"
        return "better" if (step.change > 0) == self.higher_is_better else "worse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A step of a trend, and what changed at the same time."""

    trend: Trend
    step: Step
    night: Night
    """The first run at the new level; `before` is the last at the old one."""
    before: Night
    came_with: tuple[str, ...]
    """`vllm 0.31.0 → 0.32.0`: every difference between the two."""


def trends(nights: Sequence[Night]) -> list[Trend]:
    """All trends of one series, sorted by metric, means first, then in the newest run's order."""
    wider = widening(nights, MEAN_SPLIT)
    points = [dict(night.points) | dict(_means(night, wider)) for night in nights]
    keys = _ordered({key: None for found in points for key in found}, nights)
    families = {one.name: one.family for night in nights for one in night.manifest.candidates}
    found = [_trend(key, families.get(key.candidate, ""), nights, points) for key in keys]
    return _with_steps(found)


def events(found: Sequence[Trend], nights: Sequence[Night]) -> list[Event]:
    """Every step, the newest first."""
    all_steps = [_event(trend, step, nights) for trend in found for step in trend.steps]
    return sorted(all_steps, key=lambda event: event.step.at, reverse=True)


def _ordered(keys: Mapping[Key, None], nights: Sequence[Night]) -> list[Key]:
    newest_last = [night.manifest for night in nights]
    names = [
        name
        for one in reversed(newest_last)
        for part in (one.candidates, one.tasks, one.workloads)
        for name in (entry.name for entry in part)
    ]
    place = {name: at for at, name in enumerate(dict.fromkeys(names))}
    return sorted(keys, key=lambda key: (place.get(key.subject, -1), place.get(key.candidate, -1)))


def _trend(
    key: Key, family: str, nights: Sequence[Night], points: Sequence[Mapping[Key, Point]]
) -> Trend:
    rows = np.full((4, len(nights)), np.nan)
    newest: Point | None = None
    breaks: list[int] = []
    era = ""
    for at, night in enumerate(nights):
        point = points[at].get(key)
        if point is None:
            continue
        rows[:, at] = [math.nan if part is None else part for part in point[:4]]
        now = _era(night, key)
        if newest is not None and now != era:
            breaks.append(at)
        newest, era = point, now
    assert newest is not None, "a key comes from a point"
    return Trend(
        key=key,
        family=family,
        unit=newest.unit,
        higher_is_better=newest.higher_is_better,
        values_N=rows[0],
        low_N=rows[1],
        high_N=rows[2],
        counts_N=rows[3],
        breaks=tuple(breaks),
    )


def _era(night: Night, key: Key) -> str:
    if key.subject != WHOLE or key.metric not in (ACCURACY, *SPEEDS):
        return night.era(key)
    parts = (night.era(key._replace(subject=part)) for part in _parts(night, key.metric))
    return " ".join(parts)


def _parts(night: Night, metric: str) -> list[str]:
    """What a mean is taken over: the same for all candidates of a run."""
    if metric == ACCURACY:
        return [one.name for one in night.manifest.tasks
                if one.split == MEAN_SPLIT and one.higher_is_better
                and one.unit in ("", FRACTION)]  # fmt: skip
    return [one.name for one in night.manifest.workloads if one.request_rate is None]


def _means(night: Night, wider: Mapping[str, float]) -> Iterator[tuple[Key, Point]]:
    """Means of candidates that have all parts: an incomplete mean would look like a step.

    `wider`: by how much the facts that tasks share widen a candidate's mean over tasks.
    """
    for metric in (ACCURACY, *SPEEDS):
        parts = _parts(night, metric)
        for candidate in night.recipes:
            refused = night.refused(candidate)
            wanted = {asked_name(part) for part in parts if part not in refused}
            # A workload that was cut to several contexts counts once, with a candidate's own.
            own = {asked_name(part): Key(metric, candidate, part) for part in parts
                   if Key(metric, candidate, part) in night.points}  # fmt: skip
            found = [night.points[key] for name, key in own.items() if name in wanted]
            if found and len(found) == len(wanted):
                whole = (
                    _arithmetic_mean(found, wider.get(candidate, 1.0))
                    if metric == ACCURACY
                    else _geometric_mean(found)
                )
                yield Key(metric, candidate, WHOLE), whole


def _arithmetic_mean(points: Sequence[Point], wider: float = 1.0) -> Point:
    """Every part with the same weight; without an interval if a part has none."""
    value = sum(one.value for one in points) / len(points)
    n = sum(one.n or 0 for one in points) or None
    ends = _ends(points)
    if ends is None:
        return points[0]._replace(value=value, low=None, high=None, n=n)
    below, above = _spread(
        [one.value - low for one, (low, _) in zip(points, ends, strict=True)],
        [high - one.value for one, (_, high) in zip(points, ends, strict=True)],
    )
    return points[0]._replace(
        value=value, low=value - wider * below, high=value + wider * above, n=n
    )


def _geometric_mean(points: Sequence[Point]) -> Point:
    """For speeds: long and short workloads have the same weight."""
    ends = _ends(points)
    if any(min(one.value, one.value if one.low is None else one.low) <= 0 for one in points):
        return _arithmetic_mean(points)
    value = math.exp(sum(math.log(one.value) for one in points) / len(points))
    n = min((one.n for one in points if one.n), default=None)
    if ends is None:
        return points[0]._replace(value=value, low=None, high=None, n=n)
    below, above = _spread(
        [math.log(one.value / low) for one, (low, _) in zip(points, ends, strict=True)],
        [math.log(high / one.value) for one, (_, high) in zip(points, ends, strict=True)],
    )
    return points[0]._replace(
        value=value, low=value * math.exp(-below), high=value * math.exp(above), n=n
    )


def _ends(points: Sequence[Point]) -> list[tuple[float, float]] | None:
    """All intervals; None if one is missing: a part without would pass for certain."""
    found = [(one.low, one.high) for one in points if one.low is not None and one.high is not None]
    return found if len(found) == len(points) else None


def _spread(below: Sequence[float], above: Sequence[float]) -> tuple[float, float]:
    """Half-widths of a mean's interval from its parts' (MOVER, see analysis/aggregate.py)."""
    return math.hypot(*below) / len(below), math.hypot(*above) / len(above)


def _with_steps(found: Sequence[Trend]) -> list[Trend]:
    """Trends with breaks at the same runs are searched together."""
    stretches: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, trend in enumerate(found):
        for stretch in pairwise((0, *trend.breaks, len(trend.values_N))):
            stretches[stretch].append(i)
    steps: list[list[Step]] = [[] for _ in found]
    for (start, end), members in sorted(stretches.items()):
        values = np.stack([found[i].values_N[start:end] for i in members])
        halves = np.stack([(found[i].high_N - found[i].low_N)[start:end] / 2 for i in members])
        for i, own in zip(members, find_steps(values, halves), strict=True):
            steps[i] += [replace(step, at=step.at + start) for step in own]
    return [replace(one, steps=tuple(own)) for one, own in zip(found, steps, strict=True)]


def _event(trend: Trend, step: Step, nights: Sequence[Night]) -> Event:
    before = nights[int(trend.known[trend.known < step.at][-1])]
    night = nights[step.at]
    return Event(
        trend=trend,
        step=step,
        night=night,
        before=before,
        came_with=(*changes(before.environment, night.environment), *_machine(before, night)),
    )


def _machine(before: Night, now: Night) -> Iterator[str]:
    """Whether the machine was slower or faster, by work without an engine."""
    if before.calibration_sec is None or now.calibration_sec is None:
        return
    ratio = now.calibration_sec / before.calibration_sec
    if abs(math.log(ratio)) > OTHER_MACHINE:
        word = "slower" if ratio > 1 else "faster"
        yield f"a machine that took {ratio:.2f} times as long over fixed work: {word} by itself"


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """`vllm 0.31.0 → 0.32.0`, for every difference of two runs' environments."""
    for name in dict.fromkeys((*now, *before)):
        old, new = before.get(name, "none"), now.get(name, "none")
        if old != new:
            yield f"{name} {old} → {new}"
