"""Deletes the oldest runs of a folder: `run_all.py prune DIR --keep N`.

What is kept, and why, is decided before anything is deleted. Links are not followed.
"""

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from melange.harness.errors import HarnessError
from melange.harness.runs.history import Night, folders, read_night
from melange.harness.runs.layout import COMPARISON, ENGINE_LOG, KEEP, MANIFEST, MEASUREMENTS

STILL_SEC = 24 * 3600.0
"""An unfinished run that has written nothing for so long was interrupted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What a folder of runs would lose."""

    to_delete: tuple[Night, ...]
    """Oldest first."""
    num_runs: int
    kept: tuple[tuple[Path, str], ...]
    """Older than the newest N but kept, with the reason."""


def plan_pruning(root: Path, *, keep: int) -> Pruning:
    """Delete all runs but the newest `keep`, and those that there is a reason to keep.

    Raises:
        HarnessError: there is no such folder.
    """
    nights: list[Night] = []
    kept: list[tuple[Path, str]] = []
    for path in folders(root):
        try:
            nights.append(_our_run(path))
        except HarnessError as error:
            kept.append((path, str(error).replace(f"{path}/", "")))
    nights.sort(key=lambda night: (night.started, night.name))
    reasons = {night.folder: reason for night, reason in _reasons(nights, keep)}
    old = nights[:-keep]
    kept += [(night.folder, reasons[night.folder]) for night in old if night.folder in reasons]
    to_delete = tuple(night for night in old if night.folder not in reasons)
    return Pruning(to_delete=to_delete, num_runs=len(nights), kept=tuple(kept))


def _our_run(folder: Path) -> Night:
    """
    Raises:
        HarnessError: it cannot be shown that this program wrote it.
    """
    night = read_night(folder)
    if (folder / MANIFEST).is_symlink():
        raise HarnessError(f"its {MANIFEST} is a link")
    if night.manifest.suite is None:
        raise HarnessError(f"its {MANIFEST} names no suite")
    return night


def _reasons(nights: Sequence[Night], keep: int) -> Iterator[tuple[Night, str]]:
    """Why runs are kept; the newest `keep` need no reason."""
    stay = set(nights[-keep:])
    newest = {
        (night.series.suite, night.series.zoo): night for night in nights if night.is_finished
    }
    for night in nights:
        if night.is_kept:
            reason = f"marked as a reference run by its file {KEEP!r}"
        elif night in newest.values():
            reason = "the newest finished run of its suite and zoo"
        elif not night.is_finished and not _has_stopped(night):
            reason = "unfinished, and written to within a day: it may be in progress"
        else:
            continue
        stay.add(night)
        yield night, reason
    by_folder = {night.folder.resolve(): night for night in nights}
    for night in sorted(stay, key=lambda one: one.name):
        baseline = by_folder.get(_baseline(night) or night.folder)
        if baseline is not None and baseline not in stay:
            yield baseline, f"{night.name}, which stays, was compared with it"


def _has_stopped(night: Night) -> bool:
    files = (night.folder / name for name in (MANIFEST, MEASUREMENTS, ENGINE_LOG))
    newest = max(path.stat().st_mtime for path in files if path.is_file())
    return time.time() - newest > STILL_SEC


def _baseline(night: Night) -> Path | None:
    """The run that this one was compared with; None if there is none, or it is unknown."""
    try:
        content = json.loads((night.folder / COMPARISON).read_text(encoding="utf-8"))
        return (night.folder.parent / Path(content["baseline"]).name).resolve()
    except (OSError, ValueError, KeyError, TypeError):
        return None


def note_comparison(run: Path, baseline: Path, waived: Mapping[str, int]) -> None:
    """Store what a run was compared with, so that its report can be rendered again.

    `waived`: by waiver, the number of the baseline's cells that it covered.
    """
    text = json.dumps({"baseline": str(baseline), "waived": waived}) + "\n"
    (run / COMPARISON).write_text(text, encoding="utf-8")


def delete(pruning: Pruning) -> None:
    """Delete the runs, the oldest first.

    Raises:
        HarnessError: a file cannot be deleted; earlier ones are deleted, later ones are not.
    """
    for night in pruning.to_delete:
        try:
            _delete_run(night.folder)
        except OSError as error:
            raise HarnessError(
                f"{error.filename or night.folder} cannot be deleted: {error.strerror}; "
                "free it and prune again"
            ) from None


def _delete_run(folder: Path) -> None:
    """The manifest goes last: a half-deleted folder is still a run, and can be pruned again."""
    for path in folder.iterdir():
        if path.name == MANIFEST:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    (folder / MANIFEST).unlink()
    folder.rmdir()


def mark(folder: Path) -> None:
    """Mark a run as a reference run, which pruning keeps.

    Raises:
        HarnessError: it is not a run.
    """
    if not (folder / MANIFEST).is_file():
        raise HarnessError(f"{folder} is not a run: it has no {MANIFEST}; name a run's folder")
    (folder / KEEP).touch()
