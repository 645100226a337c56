"""What tasks' metrics measure: unit and direction of those that are known, and metrics that are
made of others.

A unit is declared, here or in a task's entry. It is never guessed from values: a candidate that
makes no errors has an error count of 0, which looks like a fraction.
"""

import re
from typing import Literal, NamedTuple

FRACTION = "fraction"
"""Of boards' means: tasks in any other unit have columns of their own."""
UNKNOWN_UNIT = "value"
"""Of a secondary metric that nobody has declared."""

How = Literal["", "mean", "macro", "normalized"]


class Meaning(NamedTuple):
    unit: str
    higher_is_better: bool = True


class Formula(NamedTuple):
    """A task's metric, made of metrics that lm-eval knows."""

    how: How
    """Empty: the metric itself. mean: of several metrics. macro: each part of the task has the same
    weight. normalized: 0 at chance, 1 at best, nothing below 0; by part if the task declares the
    parts' chances."""
    of: tuple[str, ...]


SHARES = (
    "acc", "acc_norm", "acc_bytes", "acc_mutual_info", "acc_all", "exact_match", "em", "f1", "mcc",
    "pass@1", "pass_at_1", "contains", "exact", "pairwise_accuracy", "routing_repetition",
    "routing_chance", "routing_chance_any", "prompt_level_strict_acc", "prompt_level_loose_acc",
    "inst_level_strict_acc", "inst_level_loose_acc", "exact_match_original", "math_verify",
)  # fmt: skip
KNOWN = {name: Meaning(FRACTION) for name in SHARES} | {
    "perplexity": Meaning("perplexity", higher_is_better=False),
    "word_perplexity": Meaning("perplexity", higher_is_better=False),
    "byte_perplexity": Meaning("perplexity", higher_is_better=False),
    "bits_per_byte": Meaning("bits/byte", higher_is_better=False),
    "brier_score": Meaning("squared error", higher_is_better=False),
    "bleu": Meaning("BLEU"),
    "chrf": Meaning("chrF"),
    "chrf++": Meaning("chrF++"),
    "ter": Meaning("TER", higher_is_better=False),
    "reward_margin": Meaning("reward"),
}


POOLED = ("f1", "mcc", "inst_level_strict_acc", "inst_level_loose_acc")
"""Fractions that are no means over examples."""
AGGREGATIONS = frozenset({
    "mean", "nanmean", "perplexity", "weighted_perplexity", "bits_per_byte", "brier_score", "f1",
    "matthews_corrcoef", "bleu", "chrf", "chrf++", "ter",
})  # fmt: skip
"""Of lm-eval's, by its names: those whose value and interval can be computed. `median` and `bypass`
are left out."""
OWN_AGGREGATIONS = frozenset({"agg_inst_level_acc"})
"""Functions of tasks, likewise: IFEval's share of instructions."""


def unscorable(aggregation: str) -> bool:
    """`aggregation` as a task's YAML names it; a function as `module.name`."""
    own = aggregation.rpartition(".")[2]
    return aggregation not in AGGREGATIONS and own not in OWN_AGGREGATIONS


def is_mean(metric: str) -> bool:
    """Whether the metric is a mean over examples."""
    found = formula(metric)
    known = KNOWN.get(metric)
    return found.how == "" and metric not in POOLED and (known is None or known.unit == FRACTION)


def formula(metric: str) -> Formula:
    """`mean(a, b)`, `macro(a)`, `normalized(a)`, or the name of a metric."""
    found = re.fullmatch(r"(mean|macro|normalized)\((.+)\)", metric)
    if not found:
        return Formula("", (metric,))
    how: How = found[1]  # type: ignore[assignment]
    return Formula(how, tuple(name.strip() for name in found[2].split(",")))


def meaning(metric: str) -> Meaning | None:
    """Of a metric by lm-eval's name (`exact_match,strict-match`: by a filter), of `routing_x/…`, or
    of a formula whose metrics all mean the same. None if it is not known."""
    found = {KNOWN.get(re.split("[,/]", name)[0]) for name in formula(metric).of}
    if metric.startswith("routing_"):
        return Meaning(FRACTION)
    return found.pop() if len(found) == 1 else None
