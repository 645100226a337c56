"""The verdict on each change: p-values corrected over all cells."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from melange.reports.analysis.comparison.changes import Change, Kind, Verdict

ALPHA = 0.05
"""Probability of any false alarm, over all cells of a comparison."""
POWER = 0.9
"""Share of comparisons in which a change of the stated smallest size is detected."""


def smallest_slowdown(changes: Iterable[Change], kind: Kind) -> float | None:
    """The slow-down, as a share of the time, of one candidate (`Kind.SPEED`) or of all
    (`Kind.ENGINE`) that is detected in a share `POWER` of comparisons as noisy as this one.

    The median over candidates. None if no speed was judged.
    """
    tested = [one for one in changes if one.p_value is not None]
    estimates = [one.estimate for one in tested if one.kind is kind and one.estimate]
    if not estimates:
        return None
    alpha = level(tested) / len(estimates)
    return float(np.median([one.smallest_slowdown(alpha, POWER) for one in estimates]))


def level(changes: Iterable[Change]) -> float:
    """The share of `ALPHA` of each kind of test."""
    return ALPHA / max(1, len({one.kind for one in changes if one.p_value is not None}))


def judge(changes: Iterable[Change]) -> list[Change]:
    """Sets the corrected p and the verdict of every tested change.

    The kinds share `ALPHA` equally; within one, Holm's correction over all of its cells.
    """
    judged = list(changes)
    tested: dict[Kind, list[int]] = {kind: [] for kind in Kind}
    for at, one in enumerate(judged):
        if one.p_value is not None:
            tested[one.kind].append(at)
    groups = [places for places in tested.values() if places]
    for places in groups:
        cells = [judged[at] for at in places]
        adjusted = corrected([_p(one) for one in cells], [_smallest_p(one) for one in cells])
        for at, p in zip(places, adjusted, strict=True):
            judged[at] = _with_verdict(judged[at], min(1.0, p * len(groups)))
    return judged


def corrected(p_values: Sequence[float], smallest: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, counting only cells that could have had so small a p.

    `smallest` is the least p that a cell could have had: a task on which two examples flipped
    cannot raise a false alarm at 1e-4, whichever way they did. With zeros it is Holm's correction.

    Source: Tarone 1990, Biometrics 46, 515-522; stepped down as Holm 1979.
    """
    p_M, smallest_M = np.asarray(p_values, float), np.asarray(smallest, float)
    order_M = np.argsort(p_M, kind="stable")
    adjusted_M = np.empty_like(p_M)
    highest = 0.0
    for at, i in enumerate(order_M):
        rivals = int((smallest_M[order_M[at:]] <= p_M[i]).sum())
        highest = max(highest, min(1.0, p_M[i] * rivals))
        adjusted_M[i] = highest
    return [float(p) for p in adjusted_M]


def _p(change: Change) -> float:
    assert change.p_value is not None
    return change.p_value


def _smallest_p(change: Change) -> float:
    """Of the sign-flip test: all examples that changed, changed in one direction."""
    if change.kind is not Kind.QUALITY:
        return 0.0
    moved = len(change.lost) + len(change.won)
    return min(1.0, 2.0 ** (1 - moved))


def _with_verdict(change: Change, adjusted_p: float) -> Change:
    verdict = Verdict.ALIKE
    if adjusted_p <= ALPHA:
        verdict = Verdict.WORSE if change.is_worse else Verdict.BETTER
    return replace(change, adjusted_p=adjusted_p, verdict=verdict)
