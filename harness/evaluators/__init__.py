"""What puts tasks to candidates: an evaluator for each kind of task.

A plan reads this table and imports no evaluator; a worker opens those that its tasks name.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from melange.harness.recipe import Ability
from melange.harness.records import Task


class EvaluatorKind(NamedTuple):
    """What a plan may know of an evaluator."""

    open: str
    """`module:attribute` of what makes an `Evaluator` (see harness/contracts.py)."""
    needs: Callable[[Task], Ability]
    """What a candidate is asked for."""
    form: str = ""
    """What is looked at, on the task's page; lm-eval's tasks have several."""
    optional: bool = False
    """A candidate without that ability is not asked at all; else its cell is refused, and the
    reason recorded."""
    metrics: tuple[str, ...] = ()
    """A task's primary metric is one of them; empty where tasks name their own."""
    scores: bool = True
    """Its primary metric says how good a candidate is; else reports rank nobody by it."""
    repeatable: bool = False
    """A run's check of itself can ask plain transformers the same."""


TaskEntries = Mapping[str, tuple[Task, Sequence[Any]]]
"""Name -> task, and what its evaluator reads it from."""


def by_evaluator(names: Iterable[str], entries: TaskEntries) -> dict[str, list[str]]:
    """The named tasks, by what puts them."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(entries[name][0].evaluator, []).append(name)
    return found


def is_scored(task: Task) -> bool:
    """Also of an evaluator that a later version knows."""
    return task.evaluator not in EVALUATORS or EVALUATORS[task.evaluator].scores


def repeatable(entries: TaskEntries) -> TaskEntries:
    """Those of lm-eval's, whose requests are a model's alone."""
    return {
        name: entry for name, entry in entries.items() if EVALUATORS[entry[0].evaluator].repeatable
    }


def lm_eval_ability(task: Task) -> Ability:
    """A choice by likelihood needs no probabilities, unless the metric sums them."""
    if not task.likelihood:
        return Ability.GENERATE
    ranks = task.output_type == "multiple_choice" and not task.sums_probabilities
    return Ability.CHOOSE if ranks else Ability.SCORE


EVALUATORS = {
    "lm-eval": EvaluatorKind(
        open="melange.harness.evaluators.lm_eval:LmEvalEvaluator",
        needs=lm_eval_ability,
        repeatable=True,
    ),
    "preference": EvaluatorKind(
        open="melange.harness.evaluators.preference:Preference",
        needs=lambda task: Ability.REWARD,
        form="which of two answers to a prompt is rewarded more; equal rewards count half",
        optional=True,
        metrics=("pairwise_accuracy", "reward_margin"),
    ),
    "routing": EvaluatorKind(
        open="melange.harness.evaluators.routing:Routing",
        needs=lambda task: Ability.ROUTE,
        optional=True,
        metrics=("routing_repetition",),
        scores=False,
    ),
}
