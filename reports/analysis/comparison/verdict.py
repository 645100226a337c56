"""The verdict on all changes: p-values corrected over all cells, regressions, a sentence."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from melange.reports.analysis.comparison.changes import Change, Kind, Verdict
from melange.reports.analysis.comparison.environment import Difference
from melange.reports.analysis.run import Run
from melange.reports.units import PERCENT, POINTS, plural, significant

ALPHA = 0.05
"""Probability of any false alarm, over all cells of a comparison."""
POWER = 0.9
"""Share of comparisons in which a change of the stated smallest size is detected."""
SPEEDS = (Kind.SPEED, Kind.WORKLOAD, Kind.ENGINE)
NAMED = 3
"""Number of cells that a sentence names; the others are counted."""


@dataclass(frozen=True)
class Comparison:
    old: Run
    """The baseline."""
    new: Run
    changes: tuple[Change, ...]
    differences: tuple[Difference, ...]

    @cached_property
    def regressions(self) -> list[Change]:
        """The most significant first."""
        return sorted(self._of(Verdict.WORSE), key=_clearest)

    @cached_property
    def improvements(self) -> list[Change]:
        return sorted(self._of(Verdict.BETTER), key=_clearest)

    @cached_property
    def lost(self) -> list[Change]:
        return self._of(Verdict.LOST)

    @cached_property
    def num_judged(self) -> int:
        return len(self._of(Verdict.WORSE, Verdict.BETTER, Verdict.ALIKE))

    def of(self, *kinds: Kind) -> list[Change]:
        return [one for one in self.changes if one.kind in kinds]

    def _of(self, *verdicts: Verdict) -> list[Change]:
        return [one for one in self.changes if one.verdict in verdicts]

    @property
    def sentence(self) -> str:
        """The whole verdict."""
        if not self.num_judged:
            return f"Nothing could be compared with {self.old.folder.name}: {self.why_nothing}."
        head = (
            f"{plural(len(self.regressions), 'regression')} against {self.old.folder.name}: "
            f"{_named(self.regressions)}"
            if self.regressions
            else f"No regression against {self.old.folder.name}"
        )
        rest = [
            f"{plural(len(self.lost), 'cell')} of the baseline failed here ({_named(self.lost)})"
            if self.lost
            else "",
            f"{plural(len(self.improvements), 'improvement')}: {_named(self.improvements)}"
            if self.improvements
            else "",
            f"{plural(self.num_judged, 'number')} compared",
            self._silence("accuracy", Kind.QUALITY),
            self._silence("speed", *SPEEDS),
        ]
        return f"{head}; {'; '.join(part for part in rest if part)}."

    @property
    def sight(self) -> str:
        """The slow-downs that this comparison could detect; empty if no speed was judged."""
        one, all_ = (smallest_slowdown(self.changes, kind) for kind in (Kind.SPEED, Kind.ENGINE))
        if one is None:
            return ""
        together = "" if all_ is None else f", or all of them {PERCENT.write(all_)} % longer,"
        return (
            f"Had one candidate taken {PERCENT.write(one)} % longer{together} it would have been "
            f"named in {PERCENT.write(POWER)} % of comparisons as noisy as this one."
        )

    @property
    def why_nothing(self) -> str:
        """The most frequent reason, with its count."""
        return _most_frequent_reason(self.changes) or "no cell is in both runs"

    @property
    def blind(self) -> str:
        """Why a gate may not pass: too little was compared; empty if enough was.

        A busy machine, or another one, is no reason: then accuracy alone is judged.
        """
        if not self.num_judged:
            return f"nothing could be compared: {self.why_nothing}"
        return self._silence("accuracy", Kind.QUALITY)

    def _silence(self, what: str, *kinds: Kind) -> str:
        """Why no change of these kinds was judged; empty if there is none, or if one was."""
        changes = self.of(*kinds)
        if not changes or any(not one.reason for one in changes):
            return ""
        return f"no {what} was judged: {_most_frequent_reason(changes)}"


def _most_frequent_reason(changes: Iterable[Change]) -> str:
    reasons = Counter(one.reason for one in changes if one.reason)
    if not reasons:
        return ""
    reason, number = reasons.most_common(1)[0]
    return f"{reason} ({plural(number, 'cell')})"


def smallest_slowdown(changes: Iterable[Change], kind: Kind) -> float | None:
    """The slow-down, as a share of the time, of one candidate (`Kind.SPEED`) or of all
    (`Kind.ENGINE`) that is detected in a share `POWER` of comparisons as noisy as this one.

    The median over candidates. None if no speed was judged.
    """
    tested = [one for one in changes if one.p_value is not None]
    estimates = [one.estimate for one in tested if one.kind is kind and one.estimate]
    if not estimates:
        return None
    alpha = ALPHA / len({one.kind for one in tested}) / len(estimates)
    return float(np.median([one.smallest_slowdown(alpha, POWER) for one in estimates]))


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


def _clearest(change: Change) -> tuple[float, float]:
    size = abs(change.value or 0.0) if change.kind is Kind.QUALITY else abs((change.value or 1) - 1)
    return (change.adjusted_p or 0.0, -size)


def _named(changes: Sequence[Change]) -> str:
    names = [f"{one.title} ({said})" if (said := amount(one)) else one.title for one in changes]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def amount(change: Change) -> str:
    """`−5.2 points`, `14.9 % slower`, `3 % more`; empty if nothing was compared."""
    if change.value is None:
        return ""
    if change.kind is Kind.QUALITY:
        if change.unit == "fraction":
            return f"{POINTS.write_signed(change.value)} points"
        return f"{'+' if change.value > 0 else ''}{significant(change.value)}"
    words = ("faster", "slower") if change.kind in SPEEDS else ("more", "less")
    word = words[0] if change.value > 1 else words[1]
    return f"{PERCENT.write(abs(change.value - 1))} % {word}"
