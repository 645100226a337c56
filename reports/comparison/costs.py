"""Memory and build cost: what is exact may not grow at all, what is a peak has a tolerance."""

import math
from collections.abc import Iterator
from dataclasses import replace

from melange.reports.comparison.changes import Change, Kind, Verdict, unjudged
from melange.reports.comparison.match import gap, machine_refusal, memory_refusal
from melange.reports.load import Run

EXACT = ("weights_bytes", "kv_bytes_per_token")
"""They follow from the checkpoints: any growth is one."""
PEAKS = ("peak_memory_bytes", "device_memory_bytes")
PEAK_TOLERANCE = 1.1
"""A process that is handed its memory in another order keeps a few per cent more of it."""
BUILD = "build_sec"


def cost_changes(old: Run, new: Run) -> Iterator[Change]:
    for candidate in {**new.families, **old.families}:
        for metric in (*EXACT, *PEAKS, BUILD):
            kind = Kind.BUILD if metric == BUILD else Kind.MEMORY
            numbers = old.read(candidate, metric), new.read(candidate, metric)
            if all(one.value is None for one in numbers):
                continue
            reason = gap(*numbers) or memory_refusal(old, new, candidate)
            if metric not in EXACT:
                reason = reason or machine_refusal(old, new)
            change = unjudged(kind, candidate, metric, *numbers, reason)
            yield change if reason else _judged(change)


def _judged(change: Change) -> Change:
    before, now = change.old.known, change.new.known
    ratio = now / before if before else math.inf if now else 1.0
    if change.kind is Kind.BUILD:
        return replace(change, value=ratio, reason="a build is timed once: for information")
    limit = 1.0 if change.subject in EXACT else PEAK_TOLERANCE
    verdict = Verdict.WORSE if ratio > limit else Verdict.BETTER if ratio < 1 / limit else None
    return replace(change, value=ratio, verdict=verdict or Verdict.ALIKE)
