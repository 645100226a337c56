"""Compares memory and build cost: exact sizes may not grow at all, peaks have a tolerance."""

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

JUDGED = tuple(one for one in METRICS if one.tolerance is not None)
BUILD = BY_NAME["build_sec"]


def cost_changes(old: Run, new: Run) -> Iterator[Change]:
    for candidate in {**new.families, **old.families}:
        for metric in (*JUDGED, BUILD):
            kind = Kind.BUILD if metric is BUILD else Kind.MEMORY
            numbers = old.read(candidate, metric.name), new.read(candidate, metric.name)
            if all(one.value is None for one in numbers):
                continue
            reason = gap(*numbers) or memory_refusal(old, new, candidate)
            if metric.scope != "checkpoints" or metric is BUILD:
                reason = reason or machine_refusal(old, new)
            if metric in NEEDS:
                reason = reason or load_refusal(old, new)
            change = unjudged(kind, candidate, metric.name, numbers, reason)
            yield change if reason else _judged(change)


def _judged(change: Change) -> Change:
    before, now = change.old.known, change.new.known
    ratio = now / before if before else math.inf if now else 1.0
    if change.kind is Kind.BUILD:
        return replace(change, value=ratio, reason="a build is timed once: for information")
    limit = BY_NAME[change.subject].tolerance or 1.0
    verdict = Verdict.WORSE if ratio > limit else Verdict.BETTER if ratio < 1 / limit else None
    return replace(change, value=ratio, verdict=verdict or Verdict.ALIKE)
