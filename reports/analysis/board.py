"""Ranks candidates: which tasks count for a mean, and each candidate's place. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from melange.harness.evaluators import MEAN_SPLITS
from melange.harness.racing.stop import Stop
from melange.harness.records import Task
from melange.reports.analysis.aggregate import Mean
from melange.reports.analysis.evidence import Evidence
from melange.reports.analysis.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A candidate's place. Means are over tasks in which higher is better."""

    candidate: str
    family: str
    rank: int | None
    """The best that the data allow, see `rank_ranges`; None without all tasks."""
    last: int | None
    """The worst that the data allow."""
    unranked: str
    """Why it has no rank."""
    stop: Stop | None
    """If a race stopped it: its means are of the examples asked until then."""
    mean: Mean | None
    held_out: Mean | None
    shifted: Mean | None

    @property
    def ranks(self) -> str:
        """`3`, or `1–4`: the range of ranks that the data allow."""
        return str(self.rank) if self.rank == self.last else f"{self.rank}–{self.last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The tasks behind a mean, and those left out with the reason."""

    tasks: tuple[Task, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def of(self, split: str) -> list[Task]:
        return [t for t in self.tasks if t.split == split]


def scope_of_means(run: Run) -> Scope:
    """Held-out and shifted tasks that are fractions and that some candidate has completed."""
    tasks: list[Task] = []
    left_out: dict[str, str] = {}
    for name, task in run.tasks.items():
        reason = _left_out(run, name, task)
        if reason:
            left_out[name] = reason
        elif task is not None:
            tasks.append(task)
    return Scope(tasks=tuple(tasks), left_out=left_out)


def _left_out(run: Run, name: str, task: Task | None) -> str:
    if task is None:
        return "the manifest does not describe it"
    if task.split not in MEAN_SPLITS:
        return f"its split is {task.split}: candidates may have been chosen on it"
    unit = run.units.get((task.primary_metric, name))
    if unit is None:
        return "no candidate has completed it" + (" yet" if run.going_on else "")
    if unit != "fraction":
        return f"{task.primary_metric} is no fraction but is measured in {unit}"
    return ""


def standings(families: Mapping[str, str], scope: Scope, evidence: Evidence) -> list[Standing]:
    """Best mean first; those with all tasks before the others, those that a race stopped last, in
    the reverse of the order in which it did."""
    rows = [_standing(name, family, scope, evidence) for name, family in families.items()]
    return sorted(rows, key=_order)


def _standing(name: str, family: str, scope: Scope, evidence: Evidence) -> Standing:
    rank, last = evidence.ranges.get(name, (None, None))
    return Standing(
        candidate=name,
        family=family,
        rank=rank,
        last=last,
        unranked=evidence.unranked.get(name, ""),
        stop=evidence.run.stopped.get(name),
        mean=evidence.leader_mean if name == evidence.leader else evidence.mean(name),
        held_out=evidence.mean(name, scope.of("held_out")),
        shifted=evidence.mean(name, scope.of("shifted")),
    )


def _order(row: Standing) -> tuple[float, int, float]:
    lasted = row.stop.share if row.stop else 1.0
    return (-lasted, -row.mean.tasks, -row.mean.value) if row.mean else (-lasted, 1, 0.0)
