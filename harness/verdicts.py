"""What a run's check of itself found: the lines of checks.jsonl, and what they come to."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import ValidationError

from melange.harness.errors import HarnessError
from melange.harness.records import SCHEMA_VERSION, Record

FILE = "checks.jsonl"
Kind = Literal["likelihood", "generation"]


class Verdict(StrEnum):
    AGREED = "agreed"
    NEAR_TIE = "near tie"
    """The answers part where two tokens are as good as equally likely; up to there they agree."""
    DISPUTED = "disputed"
    UNCHECKED = "unchecked"
    """Transformers cannot answer; the line has a reason, and names no example if none could be."""


class Check(Record):
    """One line of checks.jsonl: an example that transformers answered once more."""

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
    """What the dtype allows of it."""
    reason: str = ""
    """In one line, of a dispute or of what could not be checked."""
    reference: str = ""
    """How the candidate was made once more."""
    samples: str = ""
    """Hash of the cell's samples that were looked at."""

    @property
    def cell(self) -> tuple[str, str | None]:
        return (self.candidate, self.task)


class Tally(NamedTuple):
    """What the lines of one candidate, or of several, come to."""

    checked: int = 0
    disputed: int = 0
    cells: int = 0
    worst: float | None = None
    """Largest difference among answers that agree (nats); None where only texts were compared."""
    unchecked: tuple[str, ...] = ()
    """Why some could not be checked, each reason once."""

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


def read_checks(folder: Path) -> list[Check]:
    """The lines that hold of a run's folder: the last of each example, of samples as they are now.

    Raises:
        HarnessError: a whole line is no check, or of a newer schema.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [(at, line) for at, line in enumerate(lines, start=1) if line.endswith("\n")]
    last = {}
    for at, line in whole:
        one = _parsed(path, at, line)
        last[one.candidate, one.kind, one.task, one.example] = one
    return list(_current(folder, list(last.values())))


def _current(folder: Path, checks: Sequence[Check]) -> Iterator[Check]:
    """Without those of samples that have been measured again, and without reasons that were
    overcome."""
    hashes: dict[tuple[str, str | None], str] = {}
    answered = {(one.candidate, one.kind) for one in checks if one.task is not None}
    for one in checks:
        if one.task is None:
            if (one.candidate, one.kind) not in answered:
                yield one
            continue
        if one.cell not in hashes:
            hashes[one.cell] = samples_hash(folder, one.candidate, one.task)
        if hashes[one.cell] == one.samples:
            yield one


def samples_hash(folder: Path, candidate: str, task: str) -> str:
    """Of a cell's samples; empty where there are none."""
    path = folder / "samples" / candidate / f"{task}.parquet"
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""


def _parsed(path: Path, number: int, line: str) -> Check:
    try:
        fields = json.loads(line)
        version = fields.get("schema_version", 0)
        if version > SCHEMA_VERSION:
            raise HarnessError(
                f"{path.name} has schema {version}; this version reads up to {SCHEMA_VERSION}. "
                "Upgrade, or pass --out."
            )
        return Check.model_validate(fields)
    except (ValueError, ValidationError, AttributeError, TypeError):
        raise HarnessError(
            f"{path}, line {number} is no check; restore the file, or delete it to check again"
        ) from None
