"""The check of a few of each candidate's examples against plain transformers."""

from operator import attrgetter
from typing import Any

from melange.harness.verdicts import Check, Verdict, tally
from melange.reports.analysis.checks import candidate_sentence, run_sentence
from melange.reports.page import Block, Column, Section, Table
from melange.reports.view import RunView

COLUMNS = ("candidate", "task", "example", "kind", "verdict", "difference", "tolerance", "ours",
           "theirs", "reason", "reference")  # fmt: skip


def block(view: RunView, subject: str) -> Block | None:
    if not view.run.tasks:
        return None
    return Block(
        data={
            "sentence": run_sentence(view.run),
            "rows": [_row(view, name) for name in view.ranking],
            "disputed": disputed(view.run.checks),
        },
        tables={"checks": _table(view.run.checks)} if view.run.checks else {},
    )


def _row(view: RunView, candidate: str) -> dict[str, Any]:
    lines = view.run.checks_of.get(candidate, [])
    found = tally(lines)
    made = dict.fromkeys(one.reference for one in lines if one.reference)
    return {
        "candidate": candidate,
        "style": view.style(candidate),
        "sentence": candidate_sentence(view.run, candidate),
        "cells": found.cells,
        "near_ties": sum(one.verdict is Verdict.NEAR_TIE for one in lines),
        "is_disputed": bool(found.disputed),
        "made": ", ".join(made),
    }


def disputed(checks: tuple[Check, ...] | list[Check]) -> list[Check]:
    return [one for one in checks if one.verdict is Verdict.DISPUTED]


def _table(checks: tuple[Check, ...]) -> Table:
    return Table([Column(name, attrgetter(name)) for name in COLUMNS], checks)


SECTION = Section("Checked against transformers", "sections/checked.html", block)
