"""Candidates of equal kernels have one change of speed, and none of them goes missing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from compared_runs import compared, speed
from comparison_run import REFERENCE, edit_manifest, slow_down, timed

from melange.reports.analysis.comparison import Kind, Verdict, compare
from melange.reports.analysis.comparison.waivers import read_waiver
from melange.reports.analysis.run import load_run


def edit_rounds(
    folder: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
) -> None:
    path = folder / "rounds.jsonl"
    lines = change([json.loads(line) for line in path.open()])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def time_as_one(folder: Path, *unit: str) -> None:
    """Times the candidates in turn, one in each round, which takes each as long as the first; every
    other candidate is a unit of its own."""

    def in_turn(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = []
        for line in lines:
            line |= {"measured_as": line["candidate"], "sitting": "2024-01-31T10:00:00"}
            if line["candidate"] == unit[0]:
                line["candidate"] = unit[line["round"] % len(unit)]
            elif line["candidate"] in unit:
                continue
            found.append(line)
        return found

    edit_rounds(folder, in_turn)
    edit_manifest(folder, lambda m: m.update(measured_as=dict.fromkeys(unit, unit[0])))


@pytest.fixture
def unit(pair) -> list[str]:
    return timed(pair[1])[1:4]


def test_candidates_that_both_runs_timed_as_one_are_judged_as_one(pair, unit):
    for folder in pair:
        time_as_one(folder, *unit)
    comparison = compared(pair)
    assert comparison.regressions == []
    assert comparison.unjudged == []
    assert {one.members for one in comparison.of(Kind.SPEED)} == {(), (unit[1], unit[2])}
    slow_down(pair[1], 1.5, *unit)
    named = compared(pair).regressions
    assert {one.candidate for one in named} == {unit[0]}
    assert f"{unit[0]} and 2 others of equal kernels" in {one.title for one in named}


def test_a_baseline_that_timed_each_alone_is_compared_by_the_first(pair, unit):
    time_as_one(pair[1], *unit)
    comparison = compared(pair)
    assert comparison.regressions == comparison.unjudged == []
    assert speed(comparison, unit[0]).members == (unit[1], unit[2])


def test_a_candidate_with_kernels_of_its_own_now_is_judged_apart(pair, unit):
    time_as_one(pair[0], *unit)
    slower_than_the_first(pair[1], unit[2], unit[0])
    time_as_one(pair[1], *unit[:2])
    comparison = compared(pair)
    assert speed(comparison, unit[0]).members == (unit[1],)
    assert speed(comparison, unit[2]).members == ()
    assert {one.candidate for one in comparison.regressions} == {unit[2]}


def slower_than_the_first(folder: Path, candidate: str, first: str) -> None:
    def change(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        walls = {(one["workload"], one["round"]): one["wall_sec"] for one in lines
                 if one["candidate"] == first}  # fmt: skip
        for line in lines:
            if line["candidate"] == candidate:
                line["wall_sec"] = 1.5 * walls[line["workload"], line["round"]]
        return lines

    edit_rounds(folder, change)


def test_where_the_first_of_a_unit_cannot_be_compared_the_others_are(pair, unit):
    for folder in pair:
        time_as_one(folder, *unit)
    for key in ("candidates", "cells"):
        edit_manifest(pair[1], lambda m, key=key: m.update({key: without(m[key], unit[0])}))
    comparison = compared(pair)
    assert speed(comparison, unit[1]).members == (unit[2],)
    missing = [one for gap in comparison.unjudged for one in gap.changes]
    assert {one.candidate for one in missing} == {unit[0]}


def without(entries: list[dict[str, Any]], candidate: str) -> list[dict[str, Any]]:
    return [one for one in entries if candidate not in (one.get("name"), one.get("candidate"))]


def test_what_a_unit_lacks_each_of_its_candidates_lacks(pair, unit):
    for folder in pair:
        time_as_one(folder, *unit)

    def forget_tpot(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [line | {"tpot_sec": []} for line in lines]

    edit_rounds(pair[1], forget_tpot)
    comparison = compared(pair)
    lacking = {one.candidate for one in comparison.of(Kind.TIMING)
               if one.subject == "tpot_sec" and one.verdict is Verdict.UNJUDGED}  # fmt: skip
    assert lacking == set(timed(pair[1]))
    assert comparison.lacks_evidence
    waiver = [read_waiver("*:latency")]
    assert not compare(load_run(pair[0]), load_run(pair[1]), waiver).lacks_evidence


def test_of_several_visits_in_a_round_the_first_counts(pair):
    def visit_again(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        again = [line | {"visit": 1, "wall_sec": 9 * line["wall_sec"]} for line in lines
                 if line["candidate"] == REFERENCE]  # fmt: skip
        return [*lines, *again]

    for folder in pair:
        time_as_one(folder, REFERENCE)
    before = speed(compared(pair), REFERENCE)
    edit_rounds(pair[1], visit_again)
    assert speed(compared(pair), REFERENCE) == before
