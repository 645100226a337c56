"""Finds the run to compare with: a folder, or the newest earlier run of the same study.

Its problems are reported before anything is measured.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melange.harness.errors import HarnessError, unknown
from melange.harness.runs.ended import ended_cells, planned_cells
from melange.harness.runs.layout import MANIFEST, MEASUREMENTS, ROUNDS
from melange.harness.runs.reader import StoredRun, read_rounds, read_run

PREVIOUS = "previous"
RESULTS = (MANIFEST, MEASUREMENTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The run that is to be compared."""

    folder: Path
    suite: str
    zoo: str
    seed: int
    limit: int | None
    """Of examples per task."""


def find_baseline(ref: str, wanted: Wanted) -> StoredRun | None:
    """The run that `ref` names: a path, the name of a sibling folder, or `previous`.

    None if `previous` finds none, as on the first night.

    Raises:
        HarnessError: the folder does not exist, is the run itself, holds no results, or has a
            results file that is cut or newer than this version.
    """
    if ref == PREVIOUS:
        return next(_earlier_runs(wanted), None)
    places = (Path(ref), wanted.folder.parent / ref)
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        beside = [path.name for path in _siblings(wanted.folder)]
        raise unknown("--compare: run", ref, [PREVIOUS, *beside])
    if folder.resolve() == wanted.folder.resolve():
        raise HarnessError(f"--compare {ref} is the run itself; name another run, or pass --out")
    return read_baseline(folder)


def check_alike(baseline: StoredRun, wanted: Wanted) -> None:
    """
    Raises:
        HarnessError: their accuracies cannot be compared, so the gate could not find regressions.
    """
    for name, old, new in (
        ("seed", baseline.manifest.seed, wanted.seed),
        ("limit", baseline.manifest.limit, wanted.limit),
    ):
        if old != new:
            remedy = "no limit" if old is None else f"--{name} {old}"
            raise HarnessError(
                f"--fail-on-regression, --compare {baseline.folder}: another {name}: "
                f"{_said(new)}, was {_said(old)}; pass {remedy}, or name another run"
            )


def _said(value: int | None) -> str:
    return "none" if value is None else str(value)


def read_baseline(folder: Path) -> StoredRun:
    """Read a run, which must have results and be intact.

    Raises:
        HarnessError: see `find_baseline`.
    """
    for name in RESULTS:
        if not (folder / name).is_file():
            raise HarnessError(
                f"--compare {folder} holds no results: it has no {name}; name a run's folder"
            )
    try:
        run = read_run(folder)
        read_rounds(folder / ROUNDS)
    except HarnessError as error:
        raise HarnessError(f"--compare {folder}: {error}") from None
    if run.notes:
        raise HarnessError(f"--compare {folder}: {run.notes[0]}")
    if not any(one.value is not None for one in run.measurements):
        raise HarnessError(f"--compare {folder} holds no results: nothing in it has completed")
    return run


def _earlier_runs(wanted: Wanted) -> Iterator[StoredRun]:
    """The newest first, without those that cannot be read or were interrupted."""
    started = _manifest(wanted.folder).get("started")
    found = []
    for folder in _siblings(wanted.folder):
        manifest = _manifest(folder)
        when = manifest.get("started")
        if _about(manifest) == _asked(wanted) and when and when < (started or "~"):
            found.append((when, folder))
    for _, folder in sorted(found, reverse=True):
        try:
            run = read_baseline(folder)
        except HarnessError:
            continue
        if is_finished(run):
            yield run


def is_finished(run: StoredRun) -> bool:
    """Whether every planned cell has ended, be it by failing."""
    return planned_cells(run.manifest).keys() <= ended_cells(run.measurements, run.manifest)


def _siblings(folder: Path) -> list[Path]:
    beside = folder.resolve().parent
    if not beside.is_dir():
        return []
    runs = [path.parent for path in sorted(beside.glob(f"*/{MANIFEST}"))]
    return [path for path in runs if path != folder.resolve()]


def _manifest(folder: Path) -> dict[str, Any]:
    """Empty if there is none, or it cannot be read."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _about(manifest: dict[str, Any]) -> tuple[Any, ...]:
    """What two runs must have in common to be the same study."""
    names = (one.get("name") if isinstance(one, dict) else None for one in
             (manifest.get("suite"), manifest.get("zoo")))  # fmt: skip
    return (*names, manifest.get("seed"), manifest.get("limit"))


def _asked(wanted: Wanted) -> tuple[Any, ...]:
    return (wanted.suite, wanted.zoo, wanted.seed, wanted.limit)
