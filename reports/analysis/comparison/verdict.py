"""The verdict on all changes: regressions, improvements, a sentence."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from melange.reports.analysis.comparison.changes import (
    QUALITIES,
    SPEEDS,
    TIMED,
    Change,
    Kind,
    Verdict,
)
from melange.reports.analysis.comparison.environment import Difference
from melange.reports.analysis.comparison.judging import POWER, smallest_slowdown
from melange.reports.analysis.run import Run
from melange.reports.units import PERCENT, POINTS, plural, significant

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
            self._silence("speed", *TIMED),
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


def _clearest(change: Change) -> tuple[float, float]:
    in_points = change.kind in QUALITIES
    size = abs(change.value or 0.0) if in_points else abs((change.value or 1) - 1)
    return (change.adjusted_p or 0.0, -size)


def _named(changes: Sequence[Change]) -> str:
    names = [f"{one.title} ({said})" if (said := amount(one)) else one.title for one in changes]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def amount(change: Change) -> str:
    """`−5.2 points`, `14.9 % slower`, `3 % more`; empty if nothing was compared."""
    if change.value is None:
        return ""
    if change.kind in QUALITIES:
        if change.unit == "fraction":
            return f"{POINTS.write_signed(change.value)} points"
        return f"{'+' if change.value > 0 else ''}{significant(change.value)}"
    words = _words(change.kind)
    word = words[0] if change.value > 1 else words[1]
    return f"{PERCENT.write(abs(change.value - 1))} % {word}"


def _words(kind: Kind) -> tuple[str, str]:
    """For more, and for less than before."""
    if kind in SPEEDS:
        return "faster", "slower"
    return ("higher", "lower") if kind is Kind.TIMING else ("more", "less")
