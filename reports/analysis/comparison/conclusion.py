"""What a comparison comes to: regressions, missing evidence, and a sentence on both."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

from melange.reports.analysis.comparison.changes import QUALITIES, SPEEDS, Change, Kind, Verdict
from melange.reports.analysis.comparison.environment import Difference
from melange.reports.analysis.comparison.judging import POWER, smallest_slowdown
from melange.reports.analysis.comparison.missing import Gap, gaps
from melange.reports.analysis.comparison.waivers import Waiver
from melange.reports.analysis.run import Run
from melange.reports.units import PERCENT, POINTS, plural, significant

NAMED = 3
"""Number of cells, or of reasons, that a sentence names; the others are counted."""


@dataclass(frozen=True)
class Comparison:
    old: Run
    """The baseline."""
    new: Run
    changes: tuple[Change, ...]
    differences: tuple[Difference, ...]
    waivers: tuple[Waiver, ...] = ()

    @cached_property
    def regressions(self) -> list[Change]:
        """The most significant first."""
        return sorted(self._of(Verdict.WORSE), key=_clearest)

    @cached_property
    def improvements(self) -> list[Change]:
        return sorted(self._of(Verdict.BETTER), key=_clearest)

    @cached_property
    def lost(self) -> list[Change]:
        """Failed or disputed here, waived or not."""
        return self._of(Verdict.LOST)

    @cached_property
    def unjudged(self) -> list[Gap]:
        """The baseline's cells that were not judged; without those that failed or are waived."""
        return gaps(one for one in self._missing if one.verdict is Verdict.UNJUDGED)

    @cached_property
    def waived(self) -> list[Gap]:
        return gaps(one for one in self.changes if one.waived_by)

    @cached_property
    def noted(self) -> list[Gap]:
        """Cells that were judged, with something that a reader has to know, by note."""
        return gaps((one for one in self.changes if one.note), attrgetter("note"))

    @property
    def _missing(self) -> Iterator[Change]:
        return (one for one in self.changes if one.is_missing and not one.waived_by)

    @cached_property
    def num_waived(self) -> dict[str, int]:
        """By waiver, the number of cells that it covers and none before it."""
        by = Counter(one.waived_by for one in self.changes)
        return {one.text: by[one.text] for one in self.waivers}

    @cached_property
    def num_judged(self) -> int:
        return len(self._of(Verdict.WORSE, Verdict.BETTER, Verdict.ALIKE))

    @property
    def lacks_evidence(self) -> bool:
        """Whether a cell of the baseline is missing that nobody has waived, or all of them are."""
        return not self.num_judged or any(True for _ in self._missing)

    def of(self, *kinds: Kind) -> list[Change]:
        return [one for one in self.changes if one.kind in kinds]

    def _of(self, *verdicts: Verdict) -> list[Change]:
        return [one for one in self.changes if one.verdict in verdicts]

    @property
    def sentence(self) -> str:
        """The whole verdict."""
        where = self.old.folder.name
        if not self.num_judged:
            return f"Nothing could be compared with {where}: {self._why_nothing}."
        head = f"No regression against {where}"
        if self.regressions:
            counted = plural(len(self.regressions), "regression")
            head = f"{counted} against {where}: {_named(self.regressions)}"
        return f"{head}; {'; '.join(filter(None, self._rest()))}."

    def _rest(self) -> Iterator[str]:
        if self.lost:
            yield f"{_cells(len(self.lost))} of the baseline failed here ({_named(self.lost)})"
        if self.unjudged:
            number = sum(len(one.changes) for one in self.unjudged)
            verb = "was" if number == 1 else "were"
            yield f"{_cells(number)} of the baseline {verb} not judged: {_reasons(self.unjudged)}"
        yield from self._on_waivers()
        for one in self.noted:
            yield f"{one.reason} ({_cells(len(one.changes))})"
        if self.improvements:
            yield f"{plural(len(self.improvements), 'improvement')}: {_named(self.improvements)}"
        yield f"{plural(self.num_judged, 'number')} compared"

    def _on_waivers(self) -> Iterator[str]:
        for waiver, number in self.num_waived.items():
            if number:
                yield f"{_cells(number)} of the baseline waived by {waiver!r}"
            else:
                yield f"nothing to waive for {waiver!r}"

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
    def _why_nothing(self) -> str:
        found = gaps(one for one in self.changes if one.reason)
        return _reasons(found) if found else "no cell is in both runs"


def _clearest(change: Change) -> tuple[float, float]:
    in_points = change.kind in QUALITIES
    size = abs(change.value or 0.0) if in_points else abs((change.value or 1) - 1)
    return (change.adjusted_p or 0.0, -size)


def _cells(number: int) -> str:
    return plural(number, "cell")


def _reasons(found: Sequence[Gap]) -> str:
    named = [f"{one.reason} ({one.where(NAMED)})" for one in found[:NAMED]]
    left_out = sum(len(one.changes) for one in found[NAMED:])
    return ", ".join(named) + (f" and {_cells(left_out)} for other reasons" if left_out else "")


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
