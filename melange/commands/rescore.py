"""`rescore`: score a stored run again from the answers that it keeps."""

import shutil
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from melange.baselines.zoo.catalog import open_zoo
from melange.commands.exits import ALL_DONE, CELLS_MISSING
from melange.commands.gate import Gate, render
from melange.commands.study import availability, entries_of, task_inputs
from melange.harness.errors import HarnessError, unknown
from melange.harness.records import Task
from melange.harness.rescoring import Rescored, Rescoring
from melange.harness.runs.layout import REPORT
from melange.harness.runs.manifest import Manifest
from melange.harness.runs.reader import StoredRun, read_run
from melange.harness.runs.writer import RunFolder
from melange.tasks.registry import load_tasks

NAME = "rescore"
HELP = "score a run again from the answers that it keeps, without an engine"
EXAMPLE = "runs/jan2024-pocket --tasks 'gsm8k*' --out runs/rescored"
NAMED = 5
"""Cells that are named for each reason."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", type=Path, help="its folder")
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="a new folder for the result (the run itself)")  # fmt: skip
    parser.add_argument("--tasks", action="append", default=[], metavar="GLOB", help="tasks")
    parser.add_argument("--zoo", metavar="NAME",
                        help="the zoo whose world pocket tasks are about (the run's)")  # fmt: skip


def execute(options: Namespace) -> int:
    stored = read_run(options.run)
    tasks = choose(stored.manifest, options.tasks)
    entries = entries_of(tasks, world_seed(tasks, options.zoo, stored.manifest))
    folder = RunFolder(copied(options.run, options.out))
    folder.prepare()
    with folder.claimed():
        outcome = Rescoring(
            stored, folder, entries, task_inputs(tasks, entries), availability
        ).run()  # fmt: skip
    said(outcome, stored)
    if outcome.done:
        render(folder, Gate(baseline=None, binding=False))
    return CELLS_MISSING if outcome.left else ALL_DONE


def choose(manifest: Manifest, globs: Sequence[str]) -> list[Task]:
    """The run's tasks as they are now, narrowed by the globs.

    Raises:
        HarnessError: a glob matches none, or there is no such task any more.
    """
    names, known = [one.name for one in manifest.tasks], load_tasks()
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            raise unknown("task", glob, names)
    chosen = [name for name in names if not globs or any(fnmatchcase(name, glob) for glob in globs)]
    for name in chosen:
        if name not in known:
            raise HarnessError(f"{unknown('task', name, known)} Name the others with --tasks.")
    return [known[name] for name in chosen]


def world_seed(tasks: Sequence[Task], zoo: str | None, manifest: Manifest) -> int | None:
    """Of the pocket tasks among them; None if there are none."""
    if not any(one.scale == "pocket" for one in tasks):
        return None
    return open_zoo(zoo or str(manifest.zoo.get("name"))).world_seed


def copied(run: Path, out: Path | None) -> Path:
    """The folder to write to: the run's, or a copy of it.

    Raises:
        HarnessError: the folder for the copy exists.
    """
    if out is None:
        return run
    if out.exists():
        raise HarnessError(f"--out {out} exists; name a folder that does not")
    shutil.copytree(run, out, ignore=shutil.ignore_patterns(REPORT))
    return out


def said(outcome: Rescored, stored: StoredRun) -> None:
    """Print how many cells were rescored, and why others were not: a line for each reason."""
    print(f"{len(outcome.done)} cells of {stored.folder} scored again")
    for reason, cells in by_reason(outcome.left).items():
        others = f" and {len(cells) - NAMED} others" if len(cells) > NAMED else ""
        print(f"not scored again: {', '.join(cells[:NAMED])}{others}: {reason}")


def by_reason(left: Mapping[tuple[str, str | None], str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for (candidate, task), reason in left.items():
        found.setdefault(reason, []).append(f"{candidate} on {task}")
    return found
