"""Waivers: cells whose missing evidence somebody has accepted.

A waiver is `CANDIDATE:SUBJECT` or `CANDIDATE:SUBJECT:REASON`, each a glob. SUBJECT is a task, a
workload, a metric, or a word for all of a kind: `accuracy`, `speed`, `latency`, `energy`, `memory`,
`size`, `build`. REASON is what the
comparison says of the cell: `*:speed:the machine*` accepts a restless machine, and no timing that
failed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from melange.harness.errors import HarnessError
from melange.harness.metrics import metric_of
from melange.reports.analysis.comparison.changes import QUALITIES, SPEEDS, Change

WORDS = {**dict.fromkeys(QUALITIES, "accuracy"), **dict.fromkeys(SPEEDS, "speed")}
"""What a waiver calls all cells of a kind; those of a metric have the name of its group."""
FORM = "CANDIDATE:SUBJECT[:REASON], three globs, such as '*:speed' or 'ties:knowledge'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    text: str
    """As it was given."""
    candidate: str
    subject: str
    reason: str = "*"

    def covers(self, change: Change) -> bool:
        """It covers no verdict: a regression cannot be waived."""
        names = {change.subject, word_of(change)}
        return (
            change.is_missing
            and fnmatchcase(change.candidate, self.candidate)
            and any(fnmatchcase(name, self.subject) for name in names)
            and fnmatchcase(change.reason or change.new.reason, self.reason)
        )


def word_of(change: Change) -> str:
    return WORDS.get(change.kind) or str(metric_of(change.subject).group)


def read_waiver(text: str) -> Waiver:
    """
    Raises:
        HarnessError: it lacks a part.
    """
    candidate, _, rest = text.partition(":")
    subject, colon, reason = rest.partition(":")
    if not (candidate and subject) or (colon and not reason):
        raise HarnessError(f"--waive {text!r} is not {FORM}")
    return Waiver(text=text, candidate=candidate, subject=subject, reason=reason or "*")


def waived(changes: Iterable[Change], waivers: Sequence[Waiver]) -> Iterator[Change]:
    """The changes; those that a waiver covers name the first that does."""
    for change in changes:
        by = next((one.text for one in waivers if one.covers(change)), "")
        yield replace(change, waived_by=by) if by else change
