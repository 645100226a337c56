"""Cells that could not be compared, by reason, with those of only one run."""

from melange.reports.page import Block, Section
from melange.reports.view import RunView

NAMED = 12


def block(view: RunView, subject: str) -> Block | None:
    if view.comparison is None:
        return None
    reasons: dict[str, list[str]] = {}
    for one in view.comparison.changes:
        if one.reason:
            reasons.setdefault(one.reason, []).append(one.title)
    if not reasons:
        return None
    rows = [
        {"reason": reason, "number": len(cells), "cells": cells[:NAMED],
         "left_out": max(0, len(cells) - NAMED)}
        for reason, cells in sorted(reasons.items(), key=lambda item: -len(item[1]))
    ]  # fmt: skip
    return Block(data={"rows": rows, "number": sum(len(cells) for cells in reasons.values())})


SECTION = Section("Not compared", "sections/compare_gaps.html", block)
