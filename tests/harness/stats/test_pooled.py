"""Metrics that are no means: their examples' scores and intervals."""

import numpy as np
import pytest

from melange.harness.stats.pooled import (
    Pooled,
    example_scores,
    f1,
    mcc,
    perplexity,
    pooled_interval,
)
from tests.studies.pooled_coverage import coverage, texts


def of_texts(num: int, seed: int = 0) -> Pooled:
    return Pooled(statistics_NS=texts(np.random.default_rng(seed), num), of_sums=perplexity)


def test_scores_have_the_metric_as_their_mean_and_its_linearized_spread() -> None:
    """The ratio's own linearization: R + (x - R w) / mean(w), through the exponential."""
    pooled = of_texts(400)
    x_N, w_N = pooled.statistics_NS.T
    ratio = x_N.sum() / w_N.sum()
    linear_N = pooled.value * (1 - (x_N - ratio * w_N) / w_N.mean())
    scores_N = example_scores(pooled)
    assert scores_N.mean() == pytest.approx(pooled.value)
    assert np.std(scores_N) == pytest.approx(np.std(linear_N), rel=0.03)
    assert np.corrcoef(scores_N, linear_N)[0, 1] > 0.999


def test_resampling_and_linearizing_agree() -> None:
    pooled = of_texts(400)
    found, half = pooled_interval(pooled), 1.96 * np.std(example_scores(pooled)) / 20
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)
    assert found == pooled_interval(pooled)


def test_examples_of_one_cluster_count_once() -> None:
    one = of_texts(60)
    twice = Pooled(statistics_NS=np.repeat(one.statistics_NS, 2, axis=0), of_sums=perplexity)
    pairs = [str(at // 2) for at in range(120)]
    apart, together = pooled_interval(twice), pooled_interval(twice, pairs)
    assert together.high - together.low > 1.3 * (apart.high - apart.low)


def test_a_perfect_score_is_not_certain() -> None:
    right = Pooled(statistics_NS=np.tile([1.0, 0.0, 0.0], (20, 1)), of_sums=f1)
    found = pooled_interval(right)
    assert found.mean == found.high == 1
    assert found.low < 0.9


def test_labels_that_are_all_alike_correlate_with_nothing() -> None:
    assert mcc(np.array([[5.0, 3.0, 0.0, 0.0]])) == 0
    assert f1(np.zeros((1, 3))) == 0


@pytest.mark.parametrize("name", ["word perplexity", "mcc, 80 % right"])
def test_intervals_cover_the_truth_as_often_as_they_claim(name: str) -> None:
    """200 worlds tell 95 % from less than 91 %."""
    for kind, share in coverage(name, 200, worlds=200).items():
        assert 0.91 <= share <= 0.99, kind
