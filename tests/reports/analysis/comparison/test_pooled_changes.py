"""Losses that are spread over many cells are found, and an example is counted once."""

from dataclasses import replace

import numpy as np
from compared_runs import TASK, compared
from comparison_run import REFERENCE, forget, timed

from melange.harness.stats import sign_flip_p
from melange.reports.analysis.comparison import Change, Kind, Verdict
from melange.reports.analysis.comparison.changes import POOLED, Gains
from melange.reports.analysis.comparison.examples import Pairs
from melange.reports.analysis.comparison.judging import judge
from melange.reports.analysis.comparison.quality import judged
from melange.reports.analysis.run import Reading

NO_ANSWER = Reading(reason="")


def cell(candidate: str, task: str, gains: dict[str, float], num_examples: int = 500) -> Change:
    p_value = sign_flip_p(list(gains.values()))
    return Change(
        kind=Kind.QUALITY, candidate=candidate, subject=task, old=NO_ANSWER, new=NO_ANSWER,
        value=sum(gains.values()) / num_examples, p_value=p_value, verdict=Verdict.ALIKE,
        gains=Gains(gains, num_examples),
    )  # fmt: skip


def pooled_of(*cells: Change) -> dict[Kind, list[Change]]:
    found = judge(cells)
    return {kind: [one for one in found if one.kind is kind] for kind in POOLED}


def test_a_loss_of_few_answers_in_every_cell_is_found_though_no_cell_is_significant(pair):
    for candidate in timed(pair[1]):
        for task in ("knowledge", "arithmetic", "instructions"):
            if (pair[1] / "samples" / candidate / f"{task}.parquet").is_file():
                forget(pair[1], candidate, task, 3)
    comparison = compared(pair)
    assert not [one for one in comparison.regressions if one.kind is Kind.QUALITY]
    found = [one for one in comparison.regressions if one.kind in POOLED]
    assert found
    assert all(one.num_won == 0 and one.value < 0 for one in found)
    assert "over all tasks" in comparison.sentence or "all candidates on" in comparison.sentence


def test_a_uniform_loss_of_one_point_is_found_among_answers_that_flip_by_a_coin():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(10):
        cells = []
        for candidate in range(15):
            for task in range(6):
                old_N = (rng.random(500) < 0.7).astype(float)
                new_N = np.where(rng.random(500) < 0.01, 1 - old_N, old_N)
                new_N[rng.choice(np.flatnonzero(new_N), 5, replace=False)] = 0.0
                blank = replace(cell(f"c{candidate}", f"t{task}", {}), gains=None)
                cells.append(
                    judged(blank, Pairs(examples_N=np.arange(500), old_N=old_N, new_N=new_N))
                )
        found.append(
            any(one.verdict is Verdict.WORSE for one in judge(cells) if one.kind in POOLED)
        )
    assert all(found)


def test_an_example_that_all_candidates_lose_is_one_loss():
    alone = pooled_of(*(cell(f"c{k}", "t", {"t, 7": -1.0}) for k in range(40)))
    (task,) = alone[Kind.TASK]
    assert task.p_value == 1.0
    assert task.verdict is Verdict.ALIKE
    many = pooled_of(*(cell(f"c{k}", "t", {f"t, {k}": -1.0}) for k in range(40)))
    (task,) = many[Kind.TASK]
    assert task.p_value == 2 * 0.5**40
    assert task.verdict is Verdict.WORSE


def test_a_fact_that_two_tasks_ask_about_is_one_loss():
    fact = {f"fact: {k}": -1.0 for k in range(6)}
    found = pooled_of(cell("c", "task", fact), cell("c", "twin", fact))
    (candidate,) = found[Kind.CANDIDATE]
    assert candidate.p_value == 2 * 0.5**6
    apart = {f"another: {k}": -1.0 for k in range(6)}
    (candidate,) = pooled_of(cell("c", "task", fact), cell("c", "twin", apart))[Kind.CANDIDATE]
    assert candidate.p_value == 2 * 0.5**12


def test_a_loss_in_one_cell_is_not_reported_again_for_the_whole(pair):
    forget(pair[1], REFERENCE, TASK, 20)
    assert [one.title for one in compared(pair).regressions] == ["base on knowledge"]


def test_a_candidate_that_is_named_is_not_reported_again_for_all_candidates():
    lost = {f"t{t}": {f"t{t}, {k}": -1.0 for k in range(4)} for t in range(8)}
    cells = [cell("victim", task, gains) for task, gains in lost.items()]
    cells += [cell(f"c{k}", task, {}) for k in range(9) for task in lost]
    found = pooled_of(*cells)
    worse = [one.title for kind in POOLED for one in found[kind] if one.verdict is Verdict.WORSE]
    assert worse == ["victim over all tasks"]


def test_units_that_cannot_be_added_up_are_left_out():
    cells = [replace(cell("c", t, {f"{t}, 1": -5.0}), unit="value") for t in ("a", "b")]
    assert pooled_of(*cells)[Kind.CANDIDATE] == []
