"""Findings in words, computed from the measurements."""

from collections import Counter
from typing import Any

from melange.harness.records import Outcome
from melange.reports.analysis.board import Standing
from melange.reports.analysis.checks import run_sentence
from melange.reports.analysis.run import Reading
from melange.reports.page import Block, Column, Section, Table
from melange.reports.tables.board_column import BoardColumn
from melange.reports.units import plural
from melange.reports.view import RunView


def block(view: RunView, subject: str) -> Block:
    ranked = [row for row in view.standings if row.mean is not None]
    best = best_by_family(ranked)
    families = [_family(view, row) for row in best]
    return Block(
        data={
            "leader": ranked[0] if ranked else None,
            "lead": _lead(view, ranked),
            "families": families,
            "fastest": _extreme(view, ranked, "decode_tokens_per_sec", sign=-1),
            "smallest": _extreme(view, ranked, view.run.headline("memory"), sign=1)
            or _extreme(view, ranked, "weights_bytes", sign=1),
            "counts": counts(view),
            "notes": [*view.run.notes, *_unlike_dtypes(view)],
            "so_far": _so_far(view),
            "checked": run_sentence(view.run),
        },
        tables={"best-by-family": _table(view, families)} if families else {},
    )


def best_by_family(ranked: list[Standing]) -> list[Standing]:
    """The best of each family, best first."""
    found: dict[str, Standing] = {}
    for row in ranked:
        found.setdefault(row.family, row)
    return list(found.values())


def _lead(view: RunView, ranked: list[Standing]) -> dict[str, Any] | None:
    """The runner-up, its distance, and who else does not differ significantly from the leader."""
    if len(ranked) < 2 or ranked[1].rank is None:
        return None
    second = ranked[1]
    return {
        "second": second,
        "gap": view.evidence.against_leader[second.candidate],
        "alike": view.evidence.alike(ranked[0].candidate),
    }


def _unlike_dtypes(view: RunView) -> list[str]:
    """A note next to the speeds if dtypes differ: a dtype comes from the checkpoint or the run, not
    from the method."""
    dtypes = Counter(one["dtype"] for one in view.run.manifest.engines.values())
    if len(dtypes) < 2:
        return []
    common = dtypes.most_common(1)[0][0]
    others = [
        f"{name} in {settings['dtype']}"
        for name, settings in view.run.manifest.engines.items()
        if settings["dtype"] != common
    ]
    told = f"{', '.join(others)}, all others in {common}"
    why = "speeds and memory differ for that too; --dtype names one for all"
    return [f"Candidates were computed in different types ({told}): {why}."]


def _so_far(view: RunView) -> str:
    """Limits a claim about the best to the candidates that are done; empty once all are."""
    shares = view.progress.families.values()
    through, of = (sum(counts) for counts in zip(*shares, strict=True)) if shares else (0, 0)
    return f"so far, with {through} of {plural(of, 'candidate')} through" if through < of else ""


def _family(view: RunView, row: Standing) -> dict[str, Any]:
    return {
        "share": view.progress.through(row.family),
        "row": row,
        "style": view.styles[row.family],
        "behind": view.evidence.against_leader[row.candidate],
        "decode": _cost(view, row.candidate, "decode_tokens_per_sec"),
        "memory": _cost(view, row.candidate, view.run.headline("memory")),
        "weights": _cost(view, row.candidate, "weights_bytes"),
    }


def _cost(view: RunView, candidate: str, key: str) -> dict[str, Any]:
    column = view.column(key)
    reading = column.cells[candidate].reading if column else Reading()
    label, scale = (column.label, column.scale) if column else ("", None)
    return {"reading": reading, "scale": scale, "label": label}


def _extreme(
    view: RunView, ranked: list[Standing], key: str, *, sign: int
) -> dict[str, Any] | None:
    """The candidate with the lowest `sign * value`, and its distance in accuracy to the leader."""
    column = view.column(key)
    complete = [row for row in ranked if row.mean and row.mean.complete]
    known = [row for row in complete if column and column.cells[row.candidate].reading.value]
    if not column or not known:
        return None
    row = min(known, key=lambda r: sign * column.cells[r.candidate].reading.known)
    return {
        "row": row,
        "reading": column.cells[row.candidate].reading,
        "column": column,
        "behind": view.evidence.against_leader[row.candidate],
        "of": len(known) if any(task is None for _, task in view.run.waiting) else None,
        "ties": sum(_value(column, r) == _value(column, row) for r in known) - 1,
    }


def _value(column: BoardColumn, row: Standing) -> float | None:
    return column.cells[row.candidate].reading.value


def counts(view: RunView) -> dict[str, int]:
    run = view.run
    outcomes = Counter(one.outcome for one in run.measurements)
    return {
        "candidates": len(run.families),
        "families": len(view.styles),
        "tasks": len(run.tasks),
        "workloads": len(run.workloads),
        "measurements": len(run.measurements),
        "skipped": outcomes[Outcome.SKIPPED],
        "failed": outcomes[Outcome.FAILED],
        "disputed": len({m.cell for m in run.measurements if m.outcome is Outcome.DISPUTED}),
    }


def _table(view: RunView, families: list[dict[str, Any]]) -> Table:
    return Table(
        columns=[
            Column("family", lambda one: one["row"].family),
            Column("candidate", lambda one: one["row"].candidate),
            Column("mean_accuracy", lambda one: one["row"].mean.reading),
            Column("tasks", lambda one: one["row"].mean.tasks),
            Column("decode_tokens_per_sec", lambda one: one["decode"]["reading"]),
            Column(view.run.headline("memory"), lambda one: one["memory"]["reading"]),
            Column("weights_bytes", lambda one: one["weights"]["reading"]),
        ],
        rows=families,
    )


SECTION = Section("What was found", "sections/overview.html", block)
