"""What plain transformers answers to a few of each candidate's examples."""

from typing import Any

import pandas as pd

from melange.harness.verdicts import Check, Verdict, tally
from melange.reports.analysis.checks import candidate_sentence, run_sentence
from melange.reports.pages import Block
from melange.reports.view import Report

COLUMNS = ["candidate", "task", "example", "kind", "verdict", "difference", "tolerance", "ours",
           "theirs", "reason", "reference"]  # fmt: skip


class Checked:
    page = "index"
    order = 48
    title = "Checked against transformers"
    template = "sections/checked.html"

    def block(self, report: Report, subject: str) -> Block | None:
        if not report.run.tasks:
            return None
        return Block(
            data={
                "sentence": run_sentence(report.run),
                "rows": [_row(report, name) for name in report.ranking],
                "disputed": disputed(report.run.checks),
            },
            tables={"checks": _frame(report.run.checks)} if report.run.checks else {},
        )


def _row(report: Report, candidate: str) -> dict[str, Any]:
    lines = report.run.checks_of.get(candidate, [])
    found = tally(lines)
    made = dict.fromkeys(one.reference for one in lines if one.reference)
    return {
        "candidate": candidate,
        "look": report.look(candidate),
        "sentence": candidate_sentence(report.run, candidate),
        "cells": found.cells,
        "near_ties": sum(one.verdict is Verdict.NEAR_TIE for one in lines),
        "is_disputed": bool(found.disputed),
        "made": ", ".join(made),
    }


def disputed(checks: tuple[Check, ...] | list[Check]) -> list[Check]:
    return [one for one in checks if one.verdict is Verdict.DISPUTED]


def _frame(checks: tuple[Check, ...]) -> pd.DataFrame:
    rows = [one.model_dump(mode="json", include=set(COLUMNS)) for one in checks]
    return pd.DataFrame(rows, columns=COLUMNS)


SECTION = Checked()
