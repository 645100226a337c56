"""Finds in the log why a process died, and where it was.

Workers share a log: it is read from where it ended when the job began, and the last match counts.
"""

from collections.abc import Sequence
from pathlib import Path

MAX_CHARS = 500
FATAL = "Fatal Python error"


def of_signal(log: Path, since: int) -> str:
    """faulthandler's report of a fatal signal, in one line; empty if there is none."""
    lines = _lines(log, since)
    fatal = _last(lines, FATAL)
    if fatal is None:
        return ""
    parts = [lines[fatal], innermost(lines[fatal:])]
    said = _last(lines[:fatal], "what():")  # of an uncaught C++ exception
    parts += [] if said is None else [lines[said].strip()]
    return ", ".join(filter(None, parts))[:MAX_CHARS]


def of_exception(log: Path, since: int, process: str) -> str:
    """The message of an uncaught exception, in one line; empty if there is none.

    `process`: the name under which multiprocessing reports it.
    """
    lines = _lines(log, since)
    uncaught = _last(lines, f"Process {process}:")
    return "" if uncaught is None else _message(lines[uncaught:])


def place(log: Path, since: int) -> str:
    """The innermost line that a signal interrupted; empty if the log does not have it."""
    lines = _lines(log, since)
    fatal = _last(lines, FATAL)
    return "" if fatal is None else innermost(lines[fatal:])


def innermost(lines: Sequence[str]) -> str:
    """The innermost frame of the interrupted thread; if that runs no Python, of the main thread,
    which faulthandler writes last."""
    starts = [at for at, line in enumerate(lines) if "(most recent call first)" in line]
    current = [at for at in starts if lines[at].startswith("Current thread")]
    for at in (current or starts)[-1:]:
        return next((line.strip() for line in lines[at:] if line.startswith("  File ")), "")
    return ""


def _message(lines: Sequence[str]) -> str:
    """The message, of one or more lines, below a traceback's last frame."""
    frames = [at for at, line in enumerate(lines) if line.startswith("  File ")]
    below = lines[frames[-1] + 1 :] if frames else lines[1:]
    first = next((at for at, line in enumerate(below) if line[:1].strip()), len(below))
    return " ".join(" ".join(below[first:]).split())[:MAX_CHARS]


def _lines(log: Path, since: int) -> list[str]:
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(since)
        return file.read().decode(errors="replace").splitlines()


def _last(lines: Sequence[str], start: str) -> int | None:
    found = [at for at, line in enumerate(lines) if line.strip().startswith(start)]
    return found[-1] if found else None
