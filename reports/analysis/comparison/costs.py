"""Compares memory and build cost by their recorded numbers: each metric declares by which factor it
may get worse, and exact sizes may not grow at all."""

import math
from collections.abc import Iterator
from dataclasses import replace

from melange.harness.measure.needs import NEEDS
from melange.harness.metrics import BY_NAME, METRICS
from melange.reports.analysis.comparison.changes import Change, Kind, Verdict, unjudged
from melange.reports.analysis.comparison.match import (
    gap,
    load_refusal,
    machine_refusal,
    memory_refusal,
)
from melange.reports.analysis.run import Run

JUDGED = tuple(one for one in METRICS if one.tolerance is not None and one.judged_by == "record")


def cost_changes(old: Run, new: Run) -> Iterator[Change]:
    for candidate in {**new.families, **old.families}:
        for metric in JUDGED:
            kind = Kind.BUILD if metric.group == "build" else Kind.MEMORY
            numbers = old.read(candidate, metric.name), new.read(candidate, metric.name)
            if all(one.value is None for one in numbers):
                continue
            reason = gap(*numbers) or memory_refusal(old, new, candidate)
            if metric.scope != "checkpoints" or kind is Kind.BUILD:
                reason = reason or machine_refusal(old, new)
            if metric in NEEDS:
                reason = reason or load_refusal(old, new)
            change = unjudged(kind, candidate, metric.name, numbers, reason)
            change = replace(change, higher_is_better=metric.higher_is_better)
            yield change if reason else _judged(change)


def _judged(change: Change) -> Change:
    before, now = change.old.known, change.new.known
    ratio = now / before if before else math.inf if now else 1.0
    limit = BY_NAME[change.subject].tolerance
    assert limit is not None, "what is judged has a tolerance"
    verdict = Verdict.ALIKE
    if not 1 / limit <= ratio <= limit:
        change = replace(change, value=ratio)
        verdict = Verdict.WORSE if change.is_worse else Verdict.BETTER
    return replace(change, value=ratio, verdict=verdict)
