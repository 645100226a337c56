"""Evaluators, which ask candidates the questions of a task: one for each kind of task.

A plan reads this table and imports no evaluator; a worker opens those that its tasks name.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from melange.harness.recipe import Ability
from melange.harness.records import Task


class EvaluatorKind(NamedTuple):
    """What a plan knows of an evaluator, without importing it."""

    open: str
    """`module:attribute` of the `Evaluator`'s class (see harness/contracts.py)."""
    needs: Callable[[Task], Ability]
    """The ability that a candidate needs for the task."""
    form: str = ""
    """How the task is scored, for its page; empty for lm-eval, whose tasks differ."""
    optional: bool = False
    """A candidate without the ability gets no cell; if False, a refused cell with the reason."""
    metrics: tuple[str, ...] = ()
    """A task's primary metric must be one of these; empty: any."""
    scores: bool = True
    """Whether its primary metric measures quality, so that reports rank candidates by it."""
    repeatable: bool = False
    """Whether a run's check can ask plain transformers the same."""
    rescorer: str = ""
    """`module:attribute` of the `Rescorer`'s class; empty if kept answers are not scored again."""
    shares: bool = False
    """Whether it is a `SharingEvaluator`, so that its tasks can be raced."""


MEAN_SPLITS = ("held_out", "shifted")
"""Tasks of these splits count for a candidate's mean: none was chosen on them."""

TaskEntries = Mapping[str, tuple[Task, Sequence[Any]]]
"""Name -> task, and the sources that its evaluator reads."""


def by_evaluator(names: Iterable[str], entries: TaskEntries) -> dict[str, list[str]]:
    """The named tasks by evaluator."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(entries[name][0].evaluator, []).append(name)
    return found


def is_scored(task: Task) -> bool:
    """Whether reports rank by it; True for an evaluator of a later version, unknown here."""
    return task.evaluator not in EVALUATORS or EVALUATORS[task.evaluator].scores


def repeatable(entries: TaskEntries) -> TaskEntries:
    """Those that a run's check can repeat."""
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
        rescorer="melange.harness.evaluators.lm_eval.rescorer:LmEvalRescorer",
        shares=True,
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
