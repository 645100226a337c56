"""The lines of rounds.jsonl: what each round of a workload took, for whoever compares or draws."""

import json
from pathlib import Path

from pydantic import ValidationError

from melange.harness.errors import HarnessError
from melange.harness.records import RoundLine
from melange.reports.lines import check_schema, first_problem


def read_rounds(path: Path) -> list[RoundLine]:
    """The rounds that hold, by candidate and workload in the order in which they were timed.

    A candidate that was timed again begins with round 0: that replaces its earlier rounds of the
    workload. A line that was cut by a crash is left out. Empty where there is no file: not every
    run has timed something.

    Raises:
        HarnessError: a line is JSON but no round, or of a newer schema.
    """
    if not path.is_file():
        return []
    held: dict[tuple[str, str], dict[int, RoundLine]] = {}
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            one = _round(path, number, line)
            if one is None:
                continue
            rounds = held.setdefault((one.candidate, one.workload), {})
            if one.round == 0:
                rounds.clear()
            rounds[one.round] = one
    return [one for rounds in held.values() for one in rounds.values()]


def _round(path: Path, number: int, line: str) -> RoundLine | None:
    try:
        content = json.loads(line)
    except ValueError:
        return None
    check_schema(path, content)
    try:
        return RoundLine.model_validate(content)
    except ValidationError as error:
        raise HarnessError(f"{path} line {number}: {first_problem(error)}") from error
