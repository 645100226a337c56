"""Results of a run's check against transformers: lines of checks.jsonl, and their summary."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, NamedTuple

from melange.harness.records import SCHEMA_VERSION, Record

Kind = Literal["likelihood", "generation"]


class Verdict(StrEnum):
    AGREED = "agreed"
    NEAR_TIE = "near tie"
    """The answers agree up to a place where two tokens are almost equally likely."""
    DISPUTED = "disputed"
    UNCHECKED = "unchecked"
    """Transformers cannot answer, for the line's reason; without an example, not any of them."""


class Check(Record):
    """One line of checks.jsonl: an example that transformers answered too."""

    schema_version: int = SCHEMA_VERSION
    candidate: str
    task: str | None = None
    example: int | None = None
    kind: Kind
    verdict: Verdict
    ours: str = ""
    """The run's answer: text, or the log-probability of each choice (nats)."""
    theirs: str = ""
    """The answer of transformers."""
    difference: float | None = None
    """Largest over the choices (nats); None for text."""
    tolerance: float | None = None
    """The largest difference that the dtype allows."""
    reason: str = ""
    """One line: why it is disputed, or could not be checked."""
    reference: str = ""
    """How the reference candidate was built."""
    samples: str = ""
    """Hash of the cell's samples that were checked."""

    @property
    def cell(self) -> tuple[str, str | None]:
        return (self.candidate, self.task)


class Tally(NamedTuple):
    """Summary of the lines of one or several candidates."""

    checked: int = 0
    disputed: int = 0
    cells: int = 0
    worst: float | None = None
    """Largest difference among answers that agree (nats); None if only texts were compared."""
    unchecked: tuple[str, ...] = ()
    """Distinct reasons why some could not be checked."""

    @property
    def sentence(self) -> str:
        """As the page and the manifest say it: `checked: 16 of 16, worst 2e-05`."""
        if not self.checked:
            return f"unchecked: {'; '.join(self.unchecked) or 'not checked'}"
        worst = "" if self.worst is None else f", worst {self.worst:.0e}"
        agreed = f"checked: {self.checked - self.disputed} of {self.checked}{worst}"
        return f"{agreed}; unchecked: {'; '.join(self.unchecked)}" if self.unchecked else agreed


def tally(checks: Iterable[Check]) -> Tally:
    lines = list(checks)
    found = [one for one in lines if one.verdict is not Verdict.UNCHECKED]
    differences = [
        one.difference
        for one in found
        if one.difference is not None and one.verdict is not Verdict.DISPUTED
    ]
    reasons = (one.reason for one in lines if one.verdict is Verdict.UNCHECKED)
    return Tally(
        checked=len(found),
        disputed=sum(one.verdict is Verdict.DISPUTED for one in found),
        cells=len({one.cell for one in found}),
        worst=max(differences, default=None),
        unchecked=tuple(dict.fromkeys(reasons)),
    )


def by_candidate(checks: Iterable[Check]) -> dict[str, list[Check]]:
    found: dict[str, list[Check]] = {}
    for one in checks:
        found.setdefault(one.candidate, []).append(one)
    return found
