"""From readings to tables, pure: which tasks count, who stands where, which columns there are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from harness.records import Task
from reports.aggregate import Mean, mean_over_tasks
from reports.load import Reading, Run
from reports.metrics import describe
from reports.units import PERCENT, Scale, plural, scale_for, unit_kind

MEAN_SPLITS = ("held_out", "shifted")
DECODE_WORKLOADS = ("8/512", "mixed", "8/8")
PREFILL_WORKLOADS = ("512/8", "mixed", "8/8")
LATENCY_WORKLOADS = ("mixed", "8/512", "8/8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A candidate's place. Means are over tasks in which higher is better (see `oriented`)."""

    candidate: str
    family: str
    rank: int | None
    """Those with all tasks first, then by number of tasks; None without a single result."""
    mean: Mean | None
    held_out: Mean | None
    shifted: Mean | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardCell:
    reading: Reading
    note: str = ""
    """Said beside the number: a mean over only some of its tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the leaderboard; a new one needs a key, a scale and its cells."""

    key: str
    label: str
    group: str
    """Columns of the groups "domain" and "task" are shown when asked for."""
    scale: Scale
    cells: Mapping[str, BoardCell]
    hint: str = ""
    higher_is_better: bool | None = None


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
    done = [
        m
        for m in run.measurements
        if m.task == name and m.metric == task.primary_metric and m.value is not None
    ]
    if not done:
        return "no candidate has completed it"
    if any(m.unit != "fraction" for m in done):
        return f"{task.primary_metric} is no fraction"
    return ""


def oriented(reading: Reading, task: Task) -> Reading:
    """The reading so that higher is better: a fraction of misses becomes one of hits."""
    if task.higher_is_better or reading.value is None:
        return reading
    low, high = reading.bounds
    return Reading(
        value=1 - reading.value,
        low=1 - high,
        high=1 - low,
        n=reading.n,
        outcome=reading.outcome,
        reason="",
    )


def mean_of(run: Run, candidate: str, tasks: Sequence[Task]) -> Mean | None:
    return mean_over_tasks([oriented(run.quality(candidate, t.name), t) for t in tasks])


def standings(run: Run, scope: Scope) -> list[Standing]:
    """Best first."""
    rows = [
        Standing(
            candidate=name,
            family=family,
            rank=None,
            mean=mean_of(run, name, scope.tasks),
            held_out=mean_of(run, name, scope.of("held_out")),
            shifted=mean_of(run, name, scope.of("shifted")),
        )
        for name, family in run.families.items()
    ]
    return _ranked(sorted(rows, key=_order))


def _order(row: Standing) -> tuple[int, float]:
    return (-row.mean.tasks, -row.mean.value) if row.mean else (1, 0.0)


def _ranked(rows: Sequence[Standing]) -> list[Standing]:
    """Equal means share a rank; the next rank counts them all."""
    ranked: list[Standing] = []
    for place, row in enumerate(rows, start=1):
        before = ranked[-1] if ranked else None
        tied = before is not None and row.mean is not None and _order(before) == _order(row)
        rank = before.rank if tied and before is not None else place
        ranked.append(_with_rank(row, rank if row.mean else None))
    return ranked


def _with_rank(row: Standing, rank: int | None) -> Standing:
    return Standing(
        candidate=row.candidate,
        family=row.family,
        rank=rank,
        mean=row.mean,
        held_out=row.held_out,
        shifted=row.shifted,
    )


def mean_cell(run: Run, candidate: str, tasks: Sequence[Task], mean: Mean | None) -> BoardCell:
    """A mean as a cell: incomplete ones say so, absent ones say why."""
    if mean is None:
        return BoardCell(reading=_gap_of(run, candidate, tasks))
    note = "" if mean.complete else f"mean over {mean.tasks} of {mean.of_tasks} tasks"
    return BoardCell(
        reading=Reading(
            value=mean.value,
            low=mean.low,
            high=mean.high,
            n=mean.examples,
            outcome="completed",
            reason="",
        ),
        note=note,
    )


def _gap_of(run: Run, candidate: str, tasks: Sequence[Task]) -> Reading:
    gaps = [run.quality(candidate, t.name) for t in tasks]
    if not gaps:
        return Reading(reason="the run has no task for this mean")
    reasons = dict.fromkeys(g.reason for g in gaps)
    worst = next((g.outcome for g in gaps if g.outcome == "failed"), gaps[0].outcome)
    return Reading(outcome=worst, reason="; ".join(reasons))


def columns(run: Run, scope: Scope, rows: Sequence[Standing]) -> list[Column]:
    """The leaderboard's columns, left to right."""
    return [
        *_mean_columns(run, scope, rows),
        *_domain_columns(run, scope),
        *_task_columns(run),
        *cost_columns(run),
    ]


def _mean_columns(run: Run, scope: Scope, rows: Sequence[Standing]) -> list[Column]:
    kinds: list[tuple[str, str, list[Task], Callable[[Standing], Mean | None]]] = [
        ("mean", "Mean accuracy", list(scope.tasks), lambda row: row.mean),
        ("held_out", "Held out", scope.of("held_out"), lambda row: row.held_out),
        ("shifted", "Shifted", scope.of("shifted"), lambda row: row.shifted),
    ]
    return [
        Column(
            key=key,
            label=label,
            group="mean",
            scale=PERCENT,
            cells={row.candidate: mean_cell(run, row.candidate, tasks, pick(row)) for row in rows},
            hint=f"mean over {len(tasks)} tasks, each with the same weight",
            higher_is_better=True,
        )
        for key, label, tasks, pick in kinds
        if tasks
    ]


def _domain_columns(run: Run, scope: Scope) -> list[Column]:
    domains = dict.fromkeys(t.domain for t in scope.tasks)
    return [_domain_column(run, d, [t for t in scope.tasks if t.domain == d]) for d in domains]


def _domain_column(run: Run, domain: str, tasks: Sequence[Task]) -> Column:
    cells = {name: mean_cell(run, name, tasks, mean_of(run, name, tasks)) for name in run.families}
    return Column(
        key=f"domain-{domain}",
        label=domain.replace("_", " ").capitalize(),
        group="domain",
        scale=PERCENT,
        cells=cells,
        hint=f"mean over {', '.join(t.name for t in tasks)}",
        higher_is_better=True,
    )


def _task_columns(run: Run) -> list[Column]:
    return [_task_column(run, name, task) for name, task in run.tasks.items()]


def _task_column(run: Run, name: str, task: Task | None) -> Column:
    cells = {c: BoardCell(reading=run.quality(c, name)) for c in run.families}
    metric = run.primary_metric(name) or ""
    lower = task is not None and not task.higher_is_better
    return Column(
        key=f"task-{name}",
        label=name,
        group="task",
        scale=scale_for(_unit(run, metric, name), (c.reading.value for c in cells.values())),
        cells=cells,
        hint=metric + (", lower is better" if lower else ""),
        higher_is_better=not lower,
    )


def _unit(run: Run, metric: str, task: str | None = None) -> str:
    """The unit that completed lines of a metric carry; a fraction where there is none."""
    for line in run.measurements:
        if line.metric == metric and (task is None or line.task == task) and line.value is not None:
            return unit_kind(metric, line.unit)
    return unit_kind(metric, "fraction")


def measured_workload(run: Run, metric: str, preferred: Sequence[str]) -> str:
    """The first preferred workload with a value, else any with one, else the first preferred."""
    done = dict.fromkeys(
        m.workload for m in run.measurements if m.metric == metric and m.value is not None
    )
    found = [w for w in (*preferred, *done) if w in done]
    return found[0] or preferred[0] if found else preferred[0]


def cost_columns(run: Run) -> list[Column]:
    """Speed, memory, size and build cost. Columns without a single record are left out."""
    wanted: list[tuple[str, str | None, bool]] = [
        ("decode_tokens_per_sec", _chosen(run, "decode_tokens_per_sec", DECODE_WORKLOADS), True),
        ("prefill_tokens_per_sec", _chosen(run, "prefill_tokens_per_sec", PREFILL_WORKLOADS), True),
        ("latency_sec", _chosen(run, "latency_sec", LATENCY_WORKLOADS), False),
        ("weights_bytes", None, False),
        ("kv_bytes_per_token", None, False),
        ("peak_memory_bytes", None, False),
        ("total_params", None, False),
        ("active_params", None, False),
        ("build_sec", None, False),
    ]
    return [_cost_column(run, metric, workload, up) for metric, workload, up in wanted]


def _chosen(run: Run, metric: str, preferred: Sequence[str]) -> str:
    return measured_workload(run, metric, preferred)


def _cost_column(run: Run, metric: str, workload: str | None, higher_is_better: bool) -> Column:
    cells = {c: BoardCell(reading=run.read(c, metric, workload=workload)) for c in run.families}
    known = describe(metric)
    values = [c.reading.value for c in cells.values()]
    return Column(
        key=metric,
        label=known.label + (f" {workload}" if workload else ""),
        group="speed" if workload else "memory",
        scale=scale_for(unit_kind(metric, ""), values),
        cells=cells,
        hint=known.meaning + (f"; {workload_words(run, workload)}" if workload else ""),
        higher_is_better=higher_is_better,
    )


def workload_words(run: Run, name: str) -> str:
    """What a workload sends, after scaling to the context length."""
    load = run.workloads.get(name)
    if load is None:
        return f"workload {name}"
    upto = "up to " if load.mixed else ""
    return (
        f"{plural(load.num_requests, 'request')} at once, {upto}{load.prompt_tokens} prompt "
        f"and {upto}{load.output_tokens} output tokens each"
    )


def board_frame(rows: Sequence[Standing], shown: Sequence[Column]) -> pd.DataFrame:
    """The leaderboard as a table of plain numbers, in storage units, for CSV."""
    return pd.DataFrame([_plain_row(row, shown) for row in rows])


def _plain_row(row: Standing, shown: Sequence[Column]) -> dict[str, object]:
    plain: dict[str, object] = {
        "rank": row.rank,
        "candidate": row.candidate,
        "family": row.family,
        "tasks": row.mean.tasks if row.mean else 0,
        "of_tasks": row.mean.of_tasks if row.mean else None,
    }
    for column in shown:
        cell = column.cells[row.candidate].reading
        plain |= {
            column.key: cell.value,
            f"{column.key}_ci_low": cell.low,
            f"{column.key}_ci_high": cell.high,
            f"{column.key}_n": cell.n,
            f"{column.key}_gap": cell.reason,
        }
    return plain
