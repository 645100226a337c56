"""A folder of runs: what each measured, when and with what.

Keeps only what trends draw, so that a year of nightly runs fits in memory.
"""

import hashlib
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from melange.harness.errors import HarnessError
from melange.harness.metrics import METRICS
from melange.harness.records import Measurement, Outcome
from melange.harness.runs.current import current
from melange.harness.runs.ended import ended_cells, planned_cells
from melange.harness.runs.layout import KEEP, MANIFEST, MEASUREMENTS, REPORT, TRENDS
from melange.harness.runs.manifest import Manifest, read_manifest
from melange.harness.runs.reader import read_measurements

CALIBRATION = ("calibration_sec", "yardstick_sec")
"""The metric's name, and the one that older runs have."""
REVISION = "git revision"
ACCURACY = "accuracy"
SPEEDS = tuple(one.name for one in METRICS if one.tracked and one.scope == "workload")
COSTS = tuple(one.name for one in METRICS if one.tracked and one.scope != "workload")
TRACKED = frozenset((*SPEEDS, *COSTS))


class Key(NamedTuple):
    """Identifies a series of values over nights."""

    metric: str
    """`ACCURACY` is each task's primary metric."""
    candidate: str
    subject: str
    """A task or a workload; empty for other costs."""


class Point(NamedTuple):
    value: float
    low: float | None
    high: float | None
    n: int | None
    unit: str
    higher_is_better: bool | None


class Series(NamedTuple):
    """What runs must have in common to be compared; each series has a page of its own."""

    suite: str
    zoo: str
    seed: int | None
    limit: int | None
    device: str


@dataclass(frozen=True, eq=False)
class Night:
    """What trends need of one run."""

    folder: Path
    manifest: Manifest
    started: datetime
    points: Mapping[Key, Point]
    num_failed: int
    num_unmeasured: int
    """Cells without a result: the run is going on, or was interrupted."""
    note: str
    calibration_sec: float | None
    """Median time of fixed work outside the engine; None where the run has none."""

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def is_finished(self) -> bool:
        return self.num_unmeasured == 0

    @property
    def has_report(self) -> bool:
        return (self.folder / REPORT / "index.html").is_file()

    @property
    def is_kept(self) -> bool:
        return (self.folder / KEEP).exists()

    @cached_property
    def series(self) -> Series:
        one = self.manifest
        suite = one.suite.name if one.suite else ""
        return Series(suite, str(one.zoo.get("name", "")), one.seed, one.limit, one.device)

    @cached_property
    def environment(self) -> dict[str, str]:
        """Versions and hardware that may explain a change."""
        one = self.manifest
        told = {REVISION: one.git_revision, **one.versions, **one.hardware}
        return {name: str(value) for name, value in told.items() if value is not None}

    @cached_property
    def recipes(self) -> dict[str, str]:
        """Candidate -> a hash that changes with its recipe or the checkpoints in it."""
        fingerprints, told = self.manifest.fingerprints, self.manifest.descriptions
        found = {}
        for one in self.manifest.candidates:
            inputs = told[one.name].inputs if one.name in told else one.recipe.inputs
            recipe = one.recipe.model_dump(mode="json")
            found[one.name] = _digest(recipe, [fingerprints.get(role) for role in inputs])
        return found

    @cached_property
    def definitions(self) -> dict[str, str]:
        """Task or workload -> a hash that changes with what it asks or how it scores."""
        hashes = self.manifest.task_definitions
        asked = ((one.name, hashes.get(one.name), one) for one in self.manifest.tasks)
        found = {
            name: known or _digest(one.model_dump(mode="json", exclude={"source", "lm_eval"}))
            for name, known, one in asked
        }
        return found | {one.name: _digest(one.model_dump()) for one in self.manifest.workloads}

    def refused(self, candidate: str) -> frozenset[str | None]:
        """Tasks that the plan refused the candidate."""
        return self._refusals.get(candidate, frozenset())

    @cached_property
    def _refusals(self) -> dict[str, frozenset[str | None]]:
        found: dict[str, set[str | None]] = defaultdict(set)
        for cell in self.manifest.cells:
            if cell.refused:
                found[cell.candidate].add(cell.task)
        return {candidate: frozenset(tasks) for candidate, tasks in found.items()}

    def era(self, key: Key) -> str:
        """Changes when a run measures something else under the same name."""
        own = self.recipes.get(key.candidate, "")
        return f"{own} {self.definitions.get(key.subject, '')}" if key.subject else own


class Unread(NamedTuple):
    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    root: Path
    nights: tuple[Night, ...]
    """Oldest first."""
    unread: tuple[Unread, ...]

    def by_series(self) -> dict[Series, list[Night]]:
        """The series with the newest run first."""
        found: dict[Series, list[Night]] = {}
        for night in self.nights:
            found[night.series] = [*found.pop(night.series, []), night]
        return dict(reversed(found.items()))


def read_history(root: Path) -> History:
    """All runs in `root`, and the other folders with the reason why they are none.

    Raises:
        HarnessError: there is no such folder.
    """
    nights: list[Night] = []
    unread: list[Unread] = []
    for path in folders(root):
        try:
            nights.append(read_night(path))
        except HarnessError as error:
            unread.append(Unread(path.name, str(error).replace(f"{path}/", "")))
    nights.sort(key=lambda night: (night.started, night.name))
    return History(root=root, nights=tuple(nights), unread=tuple(unread))


def folders(root: Path) -> list[Path]:
    """Folders and links in `root` that may be runs: not files, not the trend pages.

    Raises:
        HarnessError: there is no such folder.
    """
    if not root.is_dir():
        raise HarnessError(f"{root} is not a folder; name the folder that holds the runs")
    if (root / MANIFEST).exists():
        raise HarnessError(f"{root} is itself a run; name the folder that holds it")
    found = (path for path in root.iterdir() if path.is_dir() or path.is_symlink())
    return sorted(path for path in found if path.name != TRENDS and not path.name.startswith("."))


def read_night(folder: Path) -> Night:
    """
    Raises:
        HarnessError: it is not a run, cannot be read, or does not say when it started.
    """
    if folder.is_symlink():
        raise HarnessError("a link: only folders are read, so that no run counts twice")
    if not (folder / MANIFEST).is_file():
        raise HarnessError(f"no {MANIFEST}: not a run, or one that stopped before it measured")
    try:
        manifest = read_manifest(folder / MANIFEST)
        written, notes = read_measurements(folder / MEASUREMENTS)
    except OSError as error:
        raise HarnessError(f"cannot be read: {error.strerror}") from error
    lines = current(written)
    broken = (Outcome.FAILED, Outcome.DISPUTED)
    failed = {(one.candidate, one.task) for one in lines if one.outcome in broken}
    completed = {(one.candidate, one.task) for one in lines if one.outcome is Outcome.COMPLETED}
    return Night(
        folder=folder,
        manifest=manifest,
        started=_time(manifest.started),
        points=dict(_points(manifest, lines)),
        num_failed=len(failed - completed),
        num_unmeasured=len(planned_cells(manifest).keys() - ended_cells(lines, manifest)),
        note=" ".join(notes),
        calibration_sec=_calibration_sec(lines),
    )


def _calibration_sec(lines: Iterable[Measurement]) -> float | None:
    """The median over candidates. The oldest runs have it only in their rounds, which are too many
    to read."""
    known = {
        one.candidate: one.value
        for one in lines
        if one.metric in CALIBRATION and one.value is not None
    }
    middle = statistics.median(known.values()) if known else 0.0
    return middle if middle > 0 else None


def _points(manifest: Manifest, lines: Iterable[Measurement]) -> Iterator[tuple[Key, Point]]:
    """From current lines; a line without a value leaves a gap."""
    primary = {task.name: task.primary_metric for task in manifest.tasks}
    for one in lines:
        accuracy = one.task is not None and primary.get(one.task) == one.metric
        if one.value is None or not (accuracy or one.metric in TRACKED):
            continue
        metric = ACCURACY if accuracy else one.metric
        yield (
            Key(metric, one.candidate, one.task or one.workload or ""),
            Point(one.value, one.ci_low, one.ci_high, one.n, one.unit, one.higher_is_better),
        )


def _time(text: str | None) -> datetime:
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        raise HarnessError(f"its {MANIFEST} does not say when it started") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _digest(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
