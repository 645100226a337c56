"""What was found, in words that are computed from the measurements."""

from collections import Counter
from typing import Any

import pandas as pd

from melange.harness.metrics import headline
from melange.harness.records import Outcome
from melange.reports.analysis.board import Standing
from melange.reports.analysis.checks import run_sentence
from melange.reports.analysis.run import Reading
from melange.reports.pages import Block
from melange.reports.tables.board_column import Column
from melange.reports.units import plural
from melange.reports.view import Report

PEAK = headline("memory")


class Overview:
    page = "index"
    order = 10
    title = "What was found"
    template = "sections/overview.html"

    def block(self, report: Report, subject: str) -> Block:
        ranked = [row for row in report.standings if row.mean is not None]
        best = best_by_family(ranked)
        families = [_family(report, row) for row in best]
        return Block(
            data={
                "leader": ranked[0] if ranked else None,
                "lead": _lead(report, ranked),
                "families": families,
                "fastest": _extreme(report, ranked, "decode_tokens_per_sec", sign=-1),
                "smallest": _extreme(report, ranked, PEAK, sign=1)
                or _extreme(report, ranked, "weights_bytes", sign=1),
                "counts": counts(report),
                "notes": [*report.run.notes, *_unlike_dtypes(report)],
                "so_far": _so_far(report),
                "checked": run_sentence(report.run),
            },
            tables={"best-by-family": _frame(families)} if families else {},
        )


def best_by_family(ranked: list[Standing]) -> list[Standing]:
    """The first of each family, best first."""
    found: dict[str, Standing] = {}
    for row in ranked:
        found.setdefault(row.family, row)
    return list(found.values())


def _lead(report: Report, ranked: list[Standing]) -> dict[str, Any] | None:
    """The runner-up, how far it is behind, and who else cannot be told apart from the leader."""
    if len(ranked) < 2 or ranked[1].rank is None:
        return None
    second = ranked[1]
    return {
        "second": second,
        "gap": report.evidence.against_leader[second.candidate],
        "alike": report.evidence.alike(ranked[0].candidate),
    }


def _unlike_dtypes(report: Report) -> list[str]:
    """A dtype is the checkpoint's or the run's, not the method's: where they differ, that says so
    beside the speeds."""
    dtypes = Counter(one["dtype"] for one in report.run.manifest.engines.values())
    if len(dtypes) < 2:
        return []
    common = dtypes.most_common(1)[0][0]
    others = [
        f"{name} in {settings['dtype']}"
        for name, settings in report.run.manifest.engines.items()
        if settings["dtype"] != common
    ]
    told = f"{', '.join(others)}, all others in {common}"
    why = "speeds and memory differ for that too; --dtype names one for all"
    return [f"Candidates were computed in different types ({told}): {why}."]


def _so_far(report: Report) -> str:
    """What holds a claim about the best to the candidates that are there; empty once all are."""
    shares = report.progress.families.values()
    through, of = (sum(counts) for counts in zip(*shares, strict=True)) if shares else (0, 0)
    return f"so far, with {through} of {plural(of, 'candidate')} through" if through < of else ""


def _family(report: Report, row: Standing) -> dict[str, Any]:
    return {
        "share": report.progress.through(row.family),
        "row": row,
        "look": report.looks[row.family],
        "behind": report.evidence.against_leader[row.candidate],
        "decode": _cost(report, row.candidate, "decode_tokens_per_sec"),
        "memory": _cost(report, row.candidate, PEAK),
        "weights": _cost(report, row.candidate, "weights_bytes"),
    }


def _cost(report: Report, candidate: str, key: str) -> dict[str, Any]:
    column = report.column(key)
    reading = column.cells[candidate].reading if column else Reading()
    return {"reading": reading, "scale": column.scale if column else None}


def _extreme(
    report: Report, ranked: list[Standing], key: str, *, sign: int
) -> dict[str, Any] | None:
    """The candidate with the lowest `sign * value`, and its distance in accuracy to the leader."""
    column = report.column(key)
    complete = [row for row in ranked if row.mean and row.mean.complete]
    known = [row for row in complete if column and column.cells[row.candidate].reading.value]
    if not column or not known:
        return None
    row = min(known, key=lambda r: sign * column.cells[r.candidate].reading.known)
    return {
        "row": row,
        "reading": column.cells[row.candidate].reading,
        "column": column,
        "behind": report.evidence.against_leader[row.candidate],
        "of": len(known) if any(task is None for _, task in report.run.waiting) else None,
        "ties": sum(_value(column, r) == _value(column, row) for r in known) - 1,
    }


def _value(column: Column, row: Standing) -> float | None:
    return column.cells[row.candidate].reading.value


def counts(report: Report) -> dict[str, int]:
    run = report.run
    outcomes = run.frame["outcome"].value_counts()
    return {
        "candidates": len(run.families),
        "families": len(report.looks),
        "tasks": len(run.tasks),
        "workloads": len(run.workloads),
        "measurements": len(run.measurements),
        "skipped": int(outcomes.get("skipped", 0)),
        "failed": int(outcomes.get("failed", 0)),
        "disputed": len({m.cell for m in run.measurements if m.outcome is Outcome.DISPUTED}),
    }


def _frame(families: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "family": f["row"].family,
            "candidate": f["row"].candidate,
            "mean_accuracy": f["row"].mean.value,
            "ci_low": f["row"].mean.low,
            "ci_high": f["row"].mean.high,
            "n": f["row"].mean.examples,
            "tasks": f["row"].mean.tasks,
            "decode_tokens_per_sec": f["decode"]["reading"].value,
            PEAK: f["memory"]["reading"].value,
            "weights_bytes": f["weights"]["reading"].value,
        }
        for f in families
    )


SECTION = Overview()
