"""Wealth of gamblers who bet on which candidate is better: it is an e-value, and finds the best."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from melange.harness.stats.betting import STAKES_S, Bets, Scores, beaten, cluster_totals

BATCHES = 8


def batch(scores_KN: np.ndarray, names: list[str] | None = None) -> list[Scores]:
    return [Scores(scores_KN, names or [""] * scores_KN.shape[1])]


def stopped(draw, num: int, top: int = 1) -> set[int]:  # type: ignore[no-untyped-def]
    """After up to eight batches, asked after each."""
    bets, live = Bets(num), list(range(num))
    for _ in range(BATCHES):
        bets.add(live, [one._replace(scores_KN=one.scores_KN[live]) for one in draw()])
        out = beaten(bets.log_evidence_K(top), live)
        live = [k for k in live if k not in out]
    return set(range(num)) - set(live)


def test_wealth_is_the_product_of_what_bets_return() -> None:
    bets = Bets(2)
    bets.add([0, 1], batch(np.array([[1, 1, 0.5], [0, 1, 1]])))
    gains_N = np.array([1, 0, -0.5])
    expected = np.mean([np.prod(1 + stake * gains_N) for stake in STAKES_S])
    assert np.exp(bets.log_evidence_KK[0, 1]) == pytest.approx(expected)
    assert bets.log_evidence_K(1)[1] == pytest.approx(np.log(expected))


def test_wealth_is_one_on_average_where_candidates_are_equal() -> None:
    """Over all outcomes of two tasks of two clusters, of which each candidate is better on one."""
    total = 0.0
    for a in (0, 1):
        for b in (0, 1):
            bets = Bets(2)
            one = Scores(np.array([[a, a], [0.5, 0.5]]), ["x", "x"])
            bets.add([0, 1], [one, Scores(np.array([[b], [0.5]]), ["y"])])
            total += np.exp(bets.log_evidence_KK[0, 1]) / 4
    assert total == pytest.approx(1)


def test_a_mean_of_zero_from_unlike_tasks_gains_nothing() -> None:
    """Better on one task for sure, worse on the other for sure: no gambler wins."""
    bets = Bets(2)
    ones, zeros = np.array([[1.0] * 5, [0.0] * 5]), np.array([[0.0] * 5, [1.0] * 5])
    bets.add([0, 1], [*batch(ones), *batch(zeros)])
    assert bets.log_evidence_KK[0, 1] < 0
    assert bets.log_evidence_KK[1, 0] < 0


@given(st.integers(0, 10_000))
def test_a_cluster_of_two_tasks_is_one_bet(seed: int) -> None:
    scores_KN = np.random.default_rng(seed).random((3, 4))
    totals_KG, sizes_G = cluster_totals(
        [Scores(scores_KN, ["a", "b", "", ""]), Scores(scores_KN[:, :2], ["b", "c"])]
    )
    assert totals_KG.shape == (3, 5)
    assert totals_KG.sum(axis=1) == pytest.approx(
        (scores_KN.mean(axis=1) + scores_KN[:, :2].mean(axis=1)) / 2
    )
    assert sizes_G.sum() == pytest.approx(1)
    assert sizes_G.max() == pytest.approx(1 / 8 + 1 / 4)


def test_equal_candidates_are_stopped_in_at_most_five_percent_of_runs() -> None:
    rng = np.random.default_rng(0)

    def draw() -> list[Scores]:
        passages_KN = np.repeat(rng.random((3, 10)) < 0.9, 5, axis=1)
        both_KN = np.concatenate([passages_KN, rng.random((3, 50)) < 0.9]).astype(float)
        return batch(both_KN, [f"passage {n // 5}" for n in range(50)])

    wrong = sum(bool(stopped(draw, 6)) for _ in range(300))
    assert wrong <= 0.05 * 300


@pytest.mark.parametrize(("top", "left"), [(1, {0}), (2, {0, 1}), (3, {0, 1, 2})])
def test_those_among_the_best_are_left(top: int, left: set[int]) -> None:
    rng = np.random.default_rng(1)
    truth_K = np.array([0.95, 0.75, 0.55, 0.35, 0.15])

    def draw() -> list[Scores]:
        return batch((rng.random((5, 200)) < truth_K[:, None]).astype(float))

    assert set(range(5)) - stopped(draw, 5, top) == left


def test_nobody_is_stopped_where_all_are_among_the_best() -> None:
    bets = Bets(2)
    bets.add([0, 1], batch(np.array([[1.0] * 500, [0.0] * 500])))
    assert beaten(bets.log_evidence_K(2), [0, 1]) == []
    assert beaten(bets.log_evidence_K(1), [0, 1]) == [1]


def test_each_must_reach_as_many_times_the_bar_as_candidates_are_left() -> None:
    """Holm: of three left one needs 60, of two 40, the last 20."""
    logs_K = np.log([61.0, 41.0, 19.0])
    assert beaten(logs_K, [0, 1, 2]) == [0, 1]
    assert beaten(np.log([59.0, 41.0, 39.0]), [0, 1, 2]) == []
