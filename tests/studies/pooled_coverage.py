"""Coverage of 95 % intervals of metrics that are no means: perplexity, F1, mcc.

python -m tests.studies.pooled_coverage
"""

from collections.abc import Callable

import numpy as np

from melange.harness.stats import paired_difference
from melange.harness.stats.intervals import score_interval
from melange.harness.stats.pooled import (
    Pooled,
    example_scores,
    f1,
    mcc,
    perplexity,
    pooled_interval,
)

WORLDS = 400
Draw = Callable[[np.random.Generator, int], np.ndarray]


def texts(rng: np.random.Generator, n: int) -> np.ndarray:
    """Log-likelihoods and words of documents: lengths vary, and each has its own difficulty."""
    words_N = np.rint(rng.lognormal(5, 0.7, n)) + 1
    return np.stack([-words_N * rng.normal(3.2, 0.5, n), words_N], axis=1)


def labels(right: float, share: float) -> Draw:
    """Two classes: gold positive with a chance of `share`, each answered rightly with `right`."""

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        gold_N = (rng.random(n) < share).astype(int)
        said_N = np.where(rng.random(n) < right, gold_N, 1 - gold_N)
        return np.eye(4)[2 * gold_N + said_N]

    return draw


def counts(table_N4: np.ndarray) -> np.ndarray:
    """True positives, false positives and false negatives of tables."""
    return table_N4[:, [3, 1, 2]]


def f1_of(right: float, share: float) -> Draw:
    return lambda rng, n: counts(labels(right, share)(rng, n))


CASES: dict[str, tuple[Draw, Callable[[np.ndarray], np.ndarray]]] = {
    "word perplexity": (texts, perplexity),
    "F1, 80 % right, 30 % positive": (f1_of(0.8, 0.3), f1),
    "F1, 95 % right, 50 % positive": (f1_of(0.95, 0.5), f1),
    "mcc, 80 % right": (labels(0.8, 0.4), mcc),
    "mcc, 95 % right": (labels(0.95, 0.4), mcc),
}


def coverage(name: str, n: int, *, seed: int = 0, worlds: int = WORLDS) -> dict[str, float]:
    """Shares of worlds in which the recorded, the linearized and a paired interval hold the
    truth. `recorded` is what a run keeps; clusters are of two examples that are alike."""
    draw, of_sums = CASES[name]
    rng = np.random.default_rng(seed)
    truth = float(of_sums(draw(rng, 400_000).sum(axis=0)[None])[0])
    clusters = [str(at) for at in range(n)] * 2
    hits = dict.fromkeys(("recorded", "linearized", "clustered", "difference"), 0)
    for _ in range(worlds):
        one, other = (Pooled(statistics_NS=draw(rng, n), of_sums=of_sums) for _ in range(2))
        twice = Pooled(statistics_NS=np.tile(one.statistics_NS, (2, 1)), of_sums=of_sums)
        scores_N, others_N = example_scores(one), example_scores(other)
        for kind, found, true in (
            ("recorded", pooled_interval(one), truth),
            ("linearized", score_interval(scores_N), truth),
            ("clustered", pooled_interval(twice, clusters), truth),
            ("difference", paired_difference(scores_N, others_N), 0.0),
        ):
            hits[kind] += found.low <= true <= found.high
    return {kind: count / worlds for kind, count in hits.items()}


def main() -> None:
    for name in CASES:
        for n in (20, 50, 200):
            told = ", ".join(f"{kind} {100 * hit:.1f}" for kind, hit in coverage(name, n).items())
            print(f"{name}, n = {n}: {told}")


if __name__ == "__main__":
    main()
