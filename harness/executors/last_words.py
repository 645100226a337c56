"""What a process that died had written into its log: the line that says why, and where it was.

Workers write one log side by side: what is read begins where it ended as the job began, and of
several the last counts.
"""

from collections.abc import Sequence
from pathlib import Path

MAX_CHARS = 500
FATAL = "Fatal Python error"


def of_signal(log: Path, since: int) -> str:
    """What faulthandler said of a deadly signal, in one line; empty where it said nothing."""
    lines = _lines(log, since)
    fatal = _last(lines, FATAL)
    if fatal is None:
        return ""
    parts = [lines[fatal], innermost(lines[fatal:])]
    said = _last(lines[:fatal], "what():")  # of an exception in C++ that nobody caught
    parts += [] if said is None else [lines[said].strip()]
    return ", ".join(filter(None, parts))[:MAX_CHARS]


def of_exception(log: Path, since: int, process: str) -> str:
    """The message of an exception that nobody caught, in one line; empty where there is none.

    `process`: the name under which multiprocessing reports it.
    """
    lines = _lines(log, since)
    uncaught = _last(lines, f"Process {process}:")
    return "" if uncaught is None else _message(lines[uncaught:])


def place(log: Path, since: int) -> str:
    """The innermost line at which a signal found the process; empty where nobody wrote it down."""
    lines = _lines(log, since)
    fatal = _last(lines, FATAL)
    return "" if fatal is None else innermost(lines[fatal:])


def innermost(lines: Sequence[str]) -> str:
    """Of the thread that the signal came to; of the main thread, the last one that faulthandler
    writes, where it came to one that knows no Python."""
    starts = [at for at, line in enumerate(lines) if "(most recent call first)" in line]
    current = [at for at in starts if lines[at].startswith("Current thread")]
    for at in (current or starts)[-1:]:
        return next((line.strip() for line in lines[at:] if line.startswith("  File ")), "")
    return ""


def _message(lines: Sequence[str]) -> str:
    """The message under a traceback's last frame, which may have several lines."""
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
