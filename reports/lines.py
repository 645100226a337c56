"""The lines of measurements.jsonl: read, checked, and reduced to what holds."""

import fcntl
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from melange.harness.errors import HarnessError
from melange.harness.metrics import of_group
from melange.harness.records import SCHEMA_VERSION, Measurement, Outcome

SPEED_FAILURE = "throughput"
MEMORY_FAILURE = "memory"
MEMORY_METRICS = {MEMORY_FAILURE, *(one.name for one in of_group("memory"))} - {"weights_bytes"}
"""What a failure to measure memory stands for; weights are known before."""
Key = tuple[str, str | None, str | None, str]
"""Candidate, task, workload, metric."""
Scope = tuple[str | None, ...]
"""What a failure stands for; a completed line of the same scope makes it good."""


def is_being_written(path: Path) -> bool:
    """A process holds the lock of a run that is going on: see harness.store.RunFolder.claimed."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def read_measurements(path: Path) -> tuple[list[Measurement], list[str]]:
    """All lines in order, and what a reader of the report must know about them.

    A line that is not JSON was cut by a crash: it is left out and noted.

    Raises:
        HarnessError: a line is JSON but no measurement, or of a newer schema.
    """
    if not path.is_file():
        return [], [f"{path.name} does not exist: nothing has been measured yet."]
    found: list[Measurement] = []
    torn: list[int] = []
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                content = json.loads(line)
            except ValueError:
                torn.append(number)
                continue
            found.append(_measurement(path, number, content))
    return found, _torn_note(path, torn)


def _torn_note(path: Path, torn: list[int]) -> list[str]:
    if not torn:
        return []
    where = f"line{'s' if len(torn) > 1 else ''} {', '.join(map(str, torn))}"
    note = f"{path.name} was cut in {where}, as by a crash while writing: left out."
    return [f"{note} Run the suite again to measure what is missing."]


def _measurement(path: Path, number: int, content: Any) -> Measurement:
    check_schema(path, content)
    try:
        return _finite(Measurement.model_validate(content))
    except ValidationError as error:
        raise HarnessError(f"{path} line {number}: {first_problem(error)}") from error


def _finite(measurement: Measurement) -> Measurement:
    """NaN and infinity are no results: the value becomes a failure, a bound is dropped."""
    changes: dict[str, Any] = {
        field: None
        for field in ("value", "ci_low", "ci_high")
        if not _is_number(getattr(measurement, field))
    }
    if measurement.outcome != Outcome.COMPLETED:
        changes["value"] = None
    elif changes.get("value", 0) is None:
        changes["outcome"] = Outcome.FAILED
        changes["reason"] = measurement.reason or (
            f"{measurement.metric} came out as no finite number"
            if measurement.value is not None
            else "recorded as completed, but without a value"
        )
    return measurement.model_copy(update=changes) if changes else measurement


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def current(lines: Iterable[Measurement]) -> tuple[Measurement, ...]:
    """What holds: the last line of each key, less failures that a later line made good."""
    last: dict[Key, Measurement] = {}
    failures: dict[Scope, set[Key]] = {}
    for line in lines:
        key, scope = key_of(line), _scope(line)
        if line.outcome == Outcome.COMPLETED:
            for stale in _made_good(scope, failures):
                last.pop(stale, None)
        else:
            failures.setdefault(scope, set()).add(key)
        last.pop(key, None)
        last[key] = line
    return tuple(last.values())


def key_of(line: Measurement) -> Key:
    return (line.candidate, line.task, line.workload, line.metric)


def _made_good(scope: Scope, failures: dict[Scope, set[Key]]) -> set[Key]:
    """Keys of failures that end with a completed line of this scope."""
    # A failure of all workloads (workload None) is made good by any workload that completes.
    whole: Scope = (*scope[:2], None) if scope[1] == "workload" else scope
    return failures.pop(scope, set()) | failures.pop(whole, set())


def _scope(line: Measurement) -> Scope:
    if line.task is not None:
        return (line.candidate, "task", line.task)
    if line.workload is not None or line.metric == SPEED_FAILURE:
        return (line.candidate, "workload", line.workload)
    if line.metric in MEMORY_METRICS:
        return (line.candidate, "memory")
    return (line.candidate, "static", line.metric)


def check_schema(path: Path, content: Any) -> None:
    if not isinstance(content, dict):
        raise HarnessError(f"{path} holds a {type(content).__name__}, not an object")
    version = content.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise HarnessError(
            f"{path} has schema {version}; this version reads up to {SCHEMA_VERSION}. "
            "Upgrade Melange, or pass --out."
        )


def first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    return f"{'.'.join(str(part) for part in problem['loc']) or 'record'}: {problem['msg']}"
