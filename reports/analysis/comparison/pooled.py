"""Tests the quality of several cells together: a candidate's over its tasks, a task's over the
candidates, and all of them.

A loss of a few answers in each of many cells is significant in none of them. What may be added up:
candidates answer the same questions, and tasks ask about the same facts, so the unit is the
example, or the cluster under one name in all tasks. Its gains are summed over the cells before
their signs are flipped.

A change that a smaller part explains is not reported again for the whole: cells that were named are
left out of their candidate's sum, and what is named there of the sum over all.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from melange.harness.stats import least_sign_flip_p, sign_flip_p
from melange.harness.stats.clusters import t_quantile
from melange.reports.analysis.comparison.changes import Change, Kind, Verdict
from melange.reports.analysis.run import Reading

Key = tuple[str, str]
"""Candidate and task; "" for all."""
KEYS: dict[Kind, Callable[[Change], Key]] = {
    Kind.CANDIDATE: lambda cell: (cell.candidate, ""),
    Kind.TASK: lambda cell: ("", cell.subject),
    Kind.BOARD: lambda _: ("", ""),
}


def pooled(kind: Kind, judged: Sequence[Change]) -> list[Change]:
    """Tests over the cells of `judged` that are not yet explained; no test of a single cell."""
    pools: dict[Key, list[Change]] = {}
    for cell in _unexplained(judged):
        if kind is Kind.TASK or cell.unit == "fraction":  # other units cannot be added up
            pools.setdefault(KEYS[kind](cell), []).append(cell)
    pools = {key: cells for key, cells in pools.items() if len(cells) > 1}
    if kind is Kind.BOARD and any(_is_line(cells) for cells in pools.values()):
        return []
    return [_tested(kind, key, cells) for key, cells in pools.items()]


def _is_line(cells: Sequence[Change]) -> bool:
    """Whether they are of one candidate or one task, whose own test has covered them."""
    return min(len({one.candidate for one in cells}), len({one.subject for one in cells})) == 1


def _unexplained(judged: Sequence[Change]) -> Iterator[Change]:
    """Cells that were tested, without those that are named, alone or in a pool."""
    named = {(one.candidate, one.subject) for one in judged
             if one.kind in KEYS and one.verdict is not Verdict.ALIKE}  # fmt: skip
    for cell in judged:
        explained = named & {key(cell) for key in KEYS.values()}
        if cell.gains is not None and cell.verdict is Verdict.ALIKE and not explained:
            yield cell


def _tested(kind: Kind, key: Key, cells: Sequence[Change]) -> Change:
    sums: dict[str, float] = {}
    for cell in cells:
        assert cell.gains is not None
        for unit, gain in cell.gains.by_unit.items():
            sums[unit] = sums.get(unit, 0.0) + gain
    totals_M = np.array([total for total in sums.values() if total])
    num_answers = sum(cell.gains.num_examples for cell in cells if cell.gains)
    value = float(totals_M.sum()) / num_answers
    half = t_quantile(max(1, len(totals_M) - 1)) * float(np.sqrt((totals_M**2).sum())) / num_answers
    sums_only = Reading(reason="a difference only", n=num_answers)
    return Change(
        kind=kind,
        candidate=key[0],
        subject=key[1],
        old=sums_only,
        new=sums_only,
        value=value,
        low=value - half,
        high=value + half,
        p_value=sign_flip_p(totals_M),
        smallest_p=least_sign_flip_p(len(totals_M)),
        verdict=Verdict.ALIKE,
        num_lost=sum(cell.num_lost for cell in cells),
        num_won=sum(cell.num_won for cell in cells),
        unit=cells[0].unit,
    )
