"""Missing evidence: cells that the baseline has and that were not judged, by reason."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from operator import attrgetter

from melange.harness.stats import least_sign_flip_p
from melange.reports.analysis.comparison.changes import Change, Verdict
from melange.reports.analysis.comparison.judging import level
from melange.reports.units import plural, significant


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Cells that are missing for one reason, or share one note."""

    reason: str
    waived_by: str
    """The waiver that accepts it; empty if there is none."""
    changes: tuple[Change, ...]

    def where(self, most: int) -> str:
        """At most so many candidates, or subjects if those are fewer, with their cells; the others
        are counted: `ties (12 cells), base on knowledge and 3 more`."""
        by_candidate = _groups(self.changes, "candidate")
        by_subject = _groups(self.changes, "subject")
        groups = by_candidate if len(by_candidate) <= len(by_subject) else by_subject
        named = [
            cells[0].title if len(cells) == 1 else f"{name or 'all'} ({plural(len(cells), 'cell')})"
            for name, cells in groups.items()
        ]
        more = f" and {len(named) - most} more" if len(named) > most else ""
        return ", ".join(named[:most]) + more


def _groups(changes: Iterable[Change], by: str) -> dict[str, list[Change]]:
    found: dict[str, list[Change]] = {}
    for one in changes:
        found.setdefault(getattr(one, by), []).append(one)
    return found


def gaps(
    changes: Iterable[Change], reason_of: Callable[[Change], str] = attrgetter("reason")
) -> list[Gap]:
    """By reason and waiver, the largest first."""
    found: dict[tuple[str, str], list[Change]] = {}
    for one in changes:
        found.setdefault((reason_of(one), one.waived_by), []).append(one)
    return [
        Gap(reason=reason, waived_by=waiver, changes=tuple(cells))
        for (reason, waiver), cells in sorted(found.items(), key=lambda item: -len(item[1]))
    ]


def without_power(changes: Iterable[Change]) -> list[Change]:
    """The changes, of which those that could not have been significant are not judged.

    If all n examples of a cell flip in one direction, its sign-flip test has p = 2 / 2^n. A cell
    whose p is above its kind's level even then says nothing about a regression, whatever it shows.
    """
    return [_powerless(one) if _has_no_power(one) else one for one in changes]


def _has_no_power(change: Change) -> bool:
    if change.verdict is not Verdict.ALIKE or change.units is None:
        return False
    return least_sign_flip_p(change.units) > level(change.kind)


def _powerless(change: Change) -> Change:
    clustered = change.new.n is not None and change.units != change.new.n
    nouns = ("cluster", "clusters") if clustered else ("example", "examples")
    units = plural(change.units or 0, *nouns)
    reason = (
        f"{units} can never be significant: if all were lost, p would be "
        f"{significant(least_sign_flip_p(change.units or 0))}, "
        f"above {significant(level(change.kind))}"
    )
    return replace(change, verdict=Verdict.UNJUDGED, reason=reason)
