"""Reads and checks a run's folder. A line that is not JSON was cut by a crash: it is skipped and
noted. A line that is JSON but not a record is an error."""

import json
import math
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from melange.harness.arrivals import OpenLoopLine
from melange.harness.errors import HarnessError
from melange.harness.records import Measurement, Outcome, Record
from melange.harness.round_line import RoundLine
from melange.harness.runs.current import CellKey, current, current_checks, current_rounds
from melange.harness.runs.layout import CHECKS, MANIFEST, MEASUREMENTS, SAMPLES
from melange.harness.runs.layout import samples_path as path_of_samples
from melange.harness.runs.lock import is_locked
from melange.harness.runs.manifest import Manifest, first_problem, read_manifest
from melange.harness.runs.samples import samples_hash
from melange.harness.runs.upgrades import SAME_LINES, upgraded_line
from melange.harness.verdicts import Check

Line = TypeVar("Line", bound=Record)
Timed = TypeVar("Timed", Measurement, RoundLine)


@dataclass(frozen=True)
class StoredRun:
    """The content of a run's folder; samples are read on demand."""

    folder: Path
    manifest: Manifest
    measurements: tuple[Measurement, ...]
    """Only current ones, without superseded lines."""
    checks: tuple[Check, ...] = ()
    """Examples that transformers answered too."""
    notes: tuple[str, ...] = ()
    """Problems of the files that a reader of the report should know."""
    going_on: bool = False
    """A process was measuring into the folder when it was read."""

    def samples_path(self, candidate: str, task: str) -> Path | None:
        """The cell's file; None if there is none, it is out of date, or a name leads out of
        samples/."""
        if (candidate, task) in self._without_result:
            return None
        return self._file(candidate, task)

    def answers_path(self, candidate: str, task: str) -> Path | None:
        """As `samples_path`, and of a cell whose answers are kept but could not be scored."""
        kept = (candidate, task) in self._unscored
        return self._file(candidate, task) if kept else self.samples_path(candidate, task)

    def _file(self, candidate: str, task: str) -> Path | None:
        path = path_of_samples(self.folder, candidate, task)
        root = (self.folder / SAMPLES).resolve()
        return path if path.resolve().is_relative_to(root) and path.is_file() else None

    @cached_property
    def _unscored(self) -> frozenset[CellKey]:
        return frozenset(
            (one.candidate, one.task)
            for one in self.measurements
            if one.outcome is Outcome.FAILED and one.task and one.n
        )

    @cached_property
    def _without_result(self) -> frozenset[CellKey]:
        """Cells that were refused, failed, or withdrawn."""
        ended = {(one.candidate, one.task) for one in self.measurements}
        scored = (Outcome.COMPLETED, Outcome.DISPUTED)
        return frozenset(
            ended - {(m.candidate, m.task) for m in self.measurements if m.outcome in scored}
        )


def read_run(folder: Path) -> StoredRun:
    """
    Raises:
        HarnessError: no manifest, a schema newer than this version's, or a malformed record.
    """
    manifest = read_manifest(folder / MANIFEST)
    path = folder / MEASUREMENTS
    going_on = is_locked(path)
    lines, notes = read_measurements(path)
    return StoredRun(
        folder=folder,
        manifest=manifest,
        measurements=current(lines),
        checks=tuple(read_checks(folder)),
        # A line that is being written looks cut; the next report will have it.
        notes=() if going_on else tuple(notes),
        going_on=going_on,
    )


def read_measurements(path: Path) -> tuple[list[Measurement], list[str]]:
    """All lines in the order in which they were written, superseded ones included, and notes about
    problems.

    Raises:
        HarnessError: a line is JSON but no measurement, or of a newer schema.
    """
    if not path.is_file():
        return [], [f"{path.name} does not exist: nothing has been measured yet."]
    found, torn = _read_lines(path, Measurement)
    return _named_as_cut(path, list(map(_finite, found))), _torn_note(path, torn)


def read_rounds(path: Path) -> list[RoundLine]:
    """The current rounds; empty if there is no file, as in a run that has timed nothing.

    Raises:
        HarnessError: a line is JSON but no round, or of a newer schema.
    """
    lines = _read_lines(path, RoundLine)[0] if path.is_file() else []
    return current_rounds(_named_as_cut(path, lines))


def _named_as_cut(path: Path, lines: list[Timed]) -> list[Timed]:
    """Lines of workloads that were cut to the context, when those still kept their names."""
    manifest = path.parent / MANIFEST
    workloads = read_manifest(manifest).workloads if manifest.is_file() else ()
    whole = {one.name for one in workloads}
    names = {one.cut_from: one.name for one in workloads if one.cut_from not in whole}
    return [
        one.model_copy(update={"workload": names[one.workload]}) if one.workload in names else one
        for one in lines
    ]


def read_open_loops(path: Path) -> list[OpenLoopLine]:
    """The last line of each candidate, workload and repetition; empty if there is no file.

    Raises:
        HarnessError: a line is JSON but no open loop, or of a newer schema.
    """
    lines = _read_lines(path, OpenLoopLine)[0] if path.is_file() else []
    return list({(one.candidate, one.workload, one.repetition): one for one in lines}.values())


def read_checks(folder: Path) -> list[Check]:
    """The folder's current checks, those of its current samples.

    Raises:
        HarnessError: a line is JSON but no check, or of a newer schema.
    """
    path = folder / CHECKS
    if not path.is_file():
        return []
    lines, _ = _read_lines(path, Check)
    return list(current_checks(lines, lambda *cell: samples_hash(folder, *cell)))


def _read_lines(path: Path, kind: type[Line]) -> tuple[list[Line], list[int]]:
    """The records, and the numbers of lines that are not JSON."""
    content = path.read_bytes()
    found = _at_once(content, kind)
    return (found, []) if found is not None else _one_by_one(path, content, kind)


def _at_once(content: bytes, kind: type[Line]) -> list[Line] | None:
    """As `_one_by_one`, but several times as fast; None if a line needs a closer look."""
    lines = content.splitlines()
    try:
        # A JSON string cannot contain a line break, so lines cannot merge.
        found = _array_of(kind).validate_json(b"[" + b",\n".join(lines) + b"]")
    except ValidationError:
        return None
    known = all(getattr(one, "schema_version", None) in SAME_LINES for one in found)
    return found if known and len(found) == len(lines) else None


def _one_by_one(path: Path, content: bytes, kind: type[Line]) -> tuple[list[Line], list[int]]:
    found: list[Line] = []
    torn: list[int] = []
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line.decode("utf-8", errors="replace"))
        except ValueError:
            torn.append(number)
            continue
        try:
            found.append(kind.model_validate(upgraded_line(path, number, fields)))
        except ValidationError as error:
            raise HarnessError(f"{path} line {number}: {first_problem(error)}") from error
    return found, torn


@cache
def _array_of(kind: type[Line]) -> TypeAdapter[list[Line]]:
    return TypeAdapter(list[kind])  # type: ignore[valid-type]


def _torn_note(path: Path, torn: list[int]) -> list[str]:
    if not torn:
        return []
    where = f"line{'s' if len(torn) > 1 else ''} {', '.join(map(str, torn))}"
    note = f"{path.name} was cut in {where}, as by a crash while writing: left out."
    return [f"{note} Run the suite again to measure what is missing."]


def _finite(line: Measurement) -> Measurement:
    """NaN and infinity are not results: such a value becomes a failure, such a bound is dropped."""
    changes: dict[str, Any] = {
        name: None for name in ("value", "ci_low", "ci_high") if not _is_finite(getattr(line, name))
    }
    if line.outcome is not Outcome.COMPLETED:
        changes |= {"value": None} if line.value is not None else {}
    elif line.value is None or "value" in changes:
        said = (
            "recorded as completed, but without a value"
            if line.value is None
            else f"{line.metric} came out as no finite number"
        )
        changes |= {"outcome": Outcome.FAILED, "reason": line.reason or said}
    return line.model_copy(update=changes) if changes else line


def _is_finite(value: float | None) -> bool:
    return value is None or math.isfinite(value)
