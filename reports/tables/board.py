"""The leaderboard's columns of accuracy: means, differences, domains, tasks."""

from collections.abc import Callable, Sequence

from melange.harness.records import Task
from melange.reports.analysis.aggregate import Mean
from melange.reports.analysis.board import Scope, Standing
from melange.reports.analysis.contrasts import Contrast
from melange.reports.analysis.evidence import Evidence
from melange.reports.analysis.racing import stop_sentence
from melange.reports.analysis.run import Reading, Run
from melange.reports.page import Column, Table
from melange.reports.tables.board_column import BoardCell, BoardColumn
from melange.reports.tables.cost_columns import cost_columns
from melange.reports.units import PERCENT, POINTS, scale_for, unit_kind

VERDICTS = {"higher": "better", "lower": "worse"}


def mean_cell(run: Run, candidate: str, tasks: Sequence[Task], mean: Mean | None) -> BoardCell:
    """A mean as a cell, with a note if it is incomplete, or why it is missing."""
    if mean is None:
        return BoardCell(reading=_gap_of(run, candidate, tasks))
    note = "" if mean.complete else f"mean over {mean.tasks} of {mean.of_tasks} tasks"
    if mean.chosen_among:
        note = (
            f"the highest of {mean.chosen_among}: its interval is one that holds for all of their "
            "means at once, since the data chose it"
        )
    if candidate in run.stopped:
        note = stop_sentence(run.stopped[candidate])
    return BoardCell(
        reading=mean.reading,
        note=note,
    )


def _gap_of(run: Run, candidate: str, tasks: Sequence[Task]) -> Reading:
    gaps = [run.quality(candidate, t.name) for t in tasks]
    if not gaps:
        return Reading(reason="the run has no task for this mean")
    if (pending := next((g for g in gaps if g.outcome == "pending"), None)) is not None:
        return pending
    reasons = dict.fromkeys(g.reason for g in gaps)
    outcomes = [g.outcome for g in gaps]
    worst = next((one for one in ("disputed", "failed") if one in outcomes), outcomes[0])
    return Reading(outcome=worst, reason="; ".join(reasons))


def columns(
    run: Run, scope: Scope, evidence: Evidence, rows: Sequence[Standing]
) -> list[BoardColumn]:
    """The leaderboard's columns, left to right."""
    return [
        *_mean_columns(run, scope, rows),
        *_difference_columns(run, evidence),
        *_domain_columns(run, scope, evidence),
        *_task_columns(run),
        *cost_columns(run),
    ]


def _difference_columns(run: Run, evidence: Evidence) -> list[BoardColumn]:
    kinds = [
        ("to_leader", "To the leader", evidence.leader, evidence.against_leader),
        ("to_reference", f"To {run.reference}", run.reference, evidence.against_reference),
    ]
    return [
        BoardColumn(
            key=key,
            label=label,
            group="difference",
            scale=POINTS,
            cells={name: _difference_cell(run, name, other, found[name]) for name in run.families},
            hint=f"mean accuracy less that of {other}, paired by example; p corrected after Holm",
            higher_is_better=True,
            signed=True,
        )
        for key, label, other, found in kinds
        if other is not None and evidence.tasks
    ]


def _difference_cell(run: Run, candidate: str, other: str, found: Contrast) -> BoardCell:
    if found.value is None:
        if candidate != other and (run.is_pending(candidate) or run.is_pending(other)):
            return BoardCell(reading=run.not_reached)
        own = found.reason in ("it is the leader", "it is the reference")
        return BoardCell(
            reading=Reading(outcome="itself" if own else "unpaired", reason=found.reason)
        )
    return BoardCell(
        reading=found.reading,
        note=found.note,
        verdict=VERDICTS.get(found.verdict, "unclear"),
        p_value=found.adjusted_p,
    )


def _mean_columns(run: Run, scope: Scope, rows: Sequence[Standing]) -> list[BoardColumn]:
    kinds: list[tuple[str, str, list[Task], Callable[[Standing], Mean | None]]] = [
        ("mean", "Mean accuracy", list(scope.tasks), lambda row: row.mean),
        ("held_out", "Held out", scope.of("held_out"), lambda row: row.held_out),
        ("shifted", "Shifted", scope.of("shifted"), lambda row: row.shifted),
    ]
    return [
        BoardColumn(
            key=key,
            label=label,
            group="mean" if key == "mean" else "split",
            scale=PERCENT,
            cells={row.candidate: mean_cell(run, row.candidate, tasks, pick(row)) for row in rows},
            hint=f"mean over {len(tasks)} tasks, each with the same weight",
            higher_is_better=True,
        )
        for key, label, tasks, pick in kinds
        if tasks
    ]


def _domain_columns(run: Run, scope: Scope, evidence: Evidence) -> list[BoardColumn]:
    domains: dict[str, list[Task]] = {}
    for task in scope.tasks:
        domains.setdefault(task.domain, []).append(task)
    return [_domain_column(run, evidence, domain, tasks) for domain, tasks in domains.items()]


def _domain_column(run: Run, evidence: Evidence, domain: str, tasks: Sequence[Task]) -> BoardColumn:
    cells = {name: mean_cell(run, name, tasks, evidence.mean(name, tasks)) for name in run.families}
    return BoardColumn(
        key=f"domain-{domain}",
        label=domain.replace("_", " ").capitalize(),
        group="domain",
        scale=PERCENT,
        cells=cells,
        hint=f"mean over {', '.join(t.name for t in tasks)}",
        higher_is_better=True,
    )


def _task_columns(run: Run) -> list[BoardColumn]:
    return [_task_column(run, name, task) for name, task in run.tasks.items()]


def _task_column(run: Run, name: str, task: Task | None) -> BoardColumn:
    cells = {c: BoardCell(reading=run.quality(c, name)) for c in run.families}
    metric = run.primary_metric(name) or ""
    unit = run.units.get((metric, name), "fraction")
    lower = task is not None and not task.higher_is_better
    return BoardColumn(
        key=f"task-{name}",
        label=name,
        group="task",
        scale=scale_for(unit_kind(metric, unit), (c.reading.value for c in cells.values())),
        cells=cells,
        hint=metric + (", lower is better" if lower else ""),
        higher_is_better=not lower,
    )


def _stop_columns() -> list[Column]:
    return [
        Column("stopped_at_share", lambda row: row.stop and row.stop.share),
        Column("stopped_behind", lambda row: " ".join(row.stop.behind) if row.stop else None),
        Column("stopped_log10_e_value", lambda row: row.stop and row.stop.log10_e_value),
    ]


def board_table(rows: Sequence[Standing], shown: Sequence[BoardColumn]) -> Table:
    """The leaderboard as a table for files."""
    return Table(
        columns=[
            Column("rank", lambda row: row.rank),
            Column("rank_at_most", lambda row: row.last),
            *(_stop_columns() if any(row.stop for row in rows) else ()),
            Column("candidate", lambda row: row.candidate),
            Column("family", lambda row: row.family),
            Column("tasks", lambda row: row.mean.tasks if row.mean else 0),
            Column("of_tasks", lambda row: row.mean.of_tasks if row.mean else None),
            *(column for one in shown for column in one.file_columns),
        ],
        rows=rows,
    )
