"""Corrects p-values over everything that a comparison tests, and decides what is a regression."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from melange.reports.analysis.comparison.changes import POOLED, Change, Kind, Verdict
from melange.reports.analysis.comparison.pooled import pooled

ALPHA = 0.05
"""Probability of any false alarm, over all cells of a comparison."""
POWER = 0.9
"""Share of comparisons in which a change of the stated smallest size is detected."""
SHARES: Mapping[Kind, float] = {
    Kind.QUALITY: 0.20,
    Kind.CANDIDATE: 0.05,
    Kind.TASK: 0.05,
    Kind.BOARD: 0.05,
    Kind.SPEED: 0.25,
    Kind.WORKLOAD: 0.10,
    Kind.ENGINE: 0.15,
    Kind.TIMING: 0.10,
    Kind.STEADINESS: 0.05,
}
"""Of `ALPHA`, for each kind of test. Sums of many answers become significant quickly, so they get
little; what has few candidates to estimate its noise from gets much."""


def level(kind: Kind) -> float:
    """The probability of any false alarm among all tests of a kind."""
    return ALPHA * SHARES[kind]


def judge(changes: Iterable[Change]) -> list[Change]:
    """Sets the corrected p and the verdict of every tested change, and adds the pooled tests.

    Within a kind, Holm's correction over all of its tests.
    """
    judged = list(changes)
    tested: dict[Kind, list[int]] = {}
    for at, one in enumerate(judged):
        if one.p_value is not None:
            tested.setdefault(one.kind, []).append(at)
    for kind, places in tested.items():
        found = _with_verdicts(kind, [judged[at] for at in places])
        for at, change in zip(places, found, strict=True):
            judged[at] = change
    for kind in POOLED:  # each looks at what those before it have not named
        judged += _with_verdicts(kind, pooled(kind, judged))
    return judged


def _with_verdicts(kind: Kind, changes: Sequence[Change]) -> list[Change]:
    p_values = [1.0 if one.p_value is None else one.p_value for one in changes]
    adjusted = corrected(p_values, [one.smallest_p for one in changes])
    return [
        _with_verdict(one, min(1.0, p / SHARES[kind]))
        for one, p in zip(changes, adjusted, strict=True)
    ]


def _with_verdict(change: Change, adjusted_p: float) -> Change:
    verdict = Verdict.ALIKE
    if adjusted_p <= ALPHA:
        verdict = Verdict.WORSE if change.is_worse else Verdict.BETTER
    return replace(change, adjusted_p=adjusted_p, verdict=verdict)


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


def smallest_slowdown(changes: Iterable[Change], kind: Kind) -> float | None:
    """The slow-down, as a share of the time, of one candidate (`Kind.SPEED`) or of all
    (`Kind.ENGINE`) that is detected in a share `POWER` of comparisons as noisy as this one.

    The median over candidates. None if no speed was judged.
    """
    tested = [one for one in changes if one.kind is kind and one.p_value is not None]
    estimates = [one.estimate for one in tested if one.estimate]
    if not estimates:
        return None
    alpha = level(kind) / len(estimates)
    return float(np.median([one.smallest_slowdown(alpha, POWER) for one in estimates]))
