"""Unfinished runs: the invented run with a part of its lines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rendered import lines_of
from report_run import Shape, write_lines, write_run

Keep = Callable[[dict[str, Any]], bool]
PARTS: dict[str, Keep] = {
    "nothing": lambda line: False,
    "one family's tasks": lambda line: "task" in line and line["family"] == "averaging",
    "half a family's tasks": lambda line: "task" in line and line["candidate"] == "base",
    "half a candidate's tasks": lambda line: line.get("task") == "knowledge",
    "all tasks": lambda line: "task" in line,
    "one family's speeds": lambda line: "task" in line or line["family"] == "averaging",
}


def partial(folder: Path, keep: Keep) -> Path:
    """An unfinished run of 9 candidates of 6 families, 2 in each of the first three."""
    write_run(folder, Shape(candidates=9, tasks=4, examples=16))
    write_lines(folder, [line for line in lines_of(folder) if keep(line)])
    return folder
