"""Waivers: cells whose missing evidence somebody has accepted.

A waiver is `CANDIDATE:SUBJECT` or `CANDIDATE:SUBJECT:REASON`, each a glob. SUBJECT is a task, a
workload, a metric, or `accuracy`, `speed`, `memory` for all of a kind. REASON is what the
comparison says of the cell: `*:speed:the machine*` accepts a restless machine, and no timing that
failed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from melange.harness.errors import HarnessError
from melange.reports.analysis.comparison.changes import Change, Kind

WORDS = {
    Kind.QUALITY: "accuracy",
    Kind.SPEED: "speed",
    Kind.WORKLOAD: "speed",
    Kind.ENGINE: "speed",
    Kind.MEMORY: "memory",
    Kind.BUILD: "build",
}
"""What a waiver calls all cells of a kind."""
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
        names = {change.subject, WORDS.get(change.kind, str(change.kind))}
        return (
            change.is_missing
            and fnmatchcase(change.candidate, self.candidate)
            and any(fnmatchcase(name, self.subject) for name in names)
            and fnmatchcase(change.reason or change.new.reason, self.reason)
        )


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
