"""lm-eval's aggregations: which are means, which are functions of sums, and which are neither.

An item is what lm-eval's `process_results` gives for an example and a metric.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from lm_eval.api import metrics as lm_eval_metrics

from melange.harness.stats.pooled import (
    Pooled,
    bits,
    example_scores,
    f1,
    mcc,
    perplexity,
    ratio,
)

Aggregation = Callable[[Sequence[Any]], Any]


class Scored(NamedTuple):
    """A metric's score of each example; their mean is the metric."""

    scores: Sequence[float]
    pooled: Pooled | None = None
    """Of a metric that is no mean."""


def score_examples(aggregation: Aggregation, items: Sequence[Any]) -> Scored | None:
    """None for a metric that is neither a mean nor a known function of sums."""
    if aggregation is lm_eval_metrics.mean and all(_is_number(item) for item in items):
        return Scored([float(item) for item in items])
    if aggregation is lm_eval_metrics.brier_score:
        return Scored([float(aggregation([item])) for item in items])
    build = POOLED.get(getattr(aggregation, "__name__", ""))
    if build is None:
        return None
    pooled = build(items)
    # The value is lm-eval's own, so that a difference in the last digit is not ours.
    return Scored(example_scores(pooled, float(aggregation(items))).tolist(), pooled)


def _is_number(item: Any) -> bool:
    return isinstance(item, int | float | np.number | np.bool_)


def _of_pairs(items: Sequence[Any]) -> np.ndarray:
    """Log-likelihoods and weights."""
    return np.array([(float(score), float(weight)) for score, weight in items])


def _log_likelihoods(items: Sequence[Any]) -> Pooled:
    statistics_NS = np.array([(float(item), 1.0) for item in items])
    return Pooled(statistics_NS=statistics_NS, of_sums=perplexity)


def _weighted_perplexity(items: Sequence[Any]) -> Pooled:
    return Pooled(statistics_NS=_of_pairs(items), of_sums=perplexity)


def _bits_per_byte(items: Sequence[Any]) -> Pooled:
    return Pooled(statistics_NS=_of_pairs(items), of_sums=bits)


def _nanmean(items: Sequence[Any]) -> Pooled:
    """Of the examples that have a value."""
    values_N = np.array(items, dtype=np.float64)
    known_N = ~np.isnan(values_N)
    statistics_NS = np.stack([np.where(known_N, values_N, 0.0), known_N], axis=1)
    return Pooled(statistics_NS=statistics_NS, of_sums=ratio)


def _instructions(items: Sequence[Any]) -> Pooled:
    """IFEval's: an example has several instructions, each of which counts the same."""
    rows = [(float(sum(item)), float(len(item))) for item in items]
    return Pooled(statistics_NS=np.array(rows), of_sums=ratio)


def _f1(items: Sequence[Any]) -> Pooled:
    """Of gold and predicted labels, where 1 is what is looked for, as scikit-learn has it."""
    rows = [(gold == said == 1, gold != 1 and said == 1, gold == 1 and said != 1)
            for gold, said in items]  # fmt: skip
    return Pooled(statistics_NS=np.array(rows, dtype=np.float64), of_sums=f1)


def _mcc(items: Sequence[Any]) -> Pooled:
    labels = {label: at for at, label in enumerate(sorted({one for pair in items for one in pair}))}
    tables_NCC = np.zeros((len(items), len(labels), len(labels)))
    for table_CC, (gold, said) in zip(tables_NCC, items, strict=True):
        table_CC[labels[gold], labels[said]] = 1
    return Pooled(statistics_NS=tables_NCC.reshape(len(items), -1), of_sums=mcc)


def _corpus(name: str, **options: Any) -> Callable[[Sequence[Any]], Pooled]:
    """A metric of sacrebleu, which adds up the statistics of the sentences."""

    def build(items: Sequence[Any]) -> Pooled:
        import sacrebleu.metrics

        metric = getattr(sacrebleu.metrics, name)(**options)
        gold, said = (list(side) for side in zip(*items, strict=True))
        references, hypotheses = lm_eval_metrics._sacreformat(gold, said)
        rows = metric._extract_corpus_statistics(hypotheses, references)
        of_row = metric._compute_score_from_stats
        kind = int if name == "BLEU" else float

        def of_sums(sums_BS: np.ndarray) -> np.ndarray:
            return np.array([of_row([kind(one) for one in row]).score for row in sums_BS.tolist()])

        return Pooled(statistics_NS=np.array(rows, dtype=np.float64), of_sums=of_sums)

    return build


POOLED: dict[str, Callable[[Sequence[Any]], Pooled]] = {
    "nanmean": _nanmean,
    "perplexity": _log_likelihoods,
    "weighted_perplexity": _weighted_perplexity,
    "bits_per_byte": _bits_per_byte,
    "agg_inst_level_acc": _instructions,
    "f1_score": _f1,
    "matthews_corrcoef": _mcc,
    "bleu": _corpus("BLEU"),
    "chrf": _corpus("CHRF"),
    "chrfpp": _corpus("CHRF", word_order=2),
    "ter": _corpus("TER"),
}
"""By the name of lm-eval's function, or of IFEval's."""
