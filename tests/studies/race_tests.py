"""Tests that a race could use, to compare with the one that it uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from melange.harness.racing.batches import ENDS
from melange.harness.stats import TaskScores, aggregate
from melange.harness.stats.betting import STAKES_S, Bets, Scores, cluster_totals


class Hoeffding(Bets):
    """Wealth that knows only how large differences can be. Source: Howard et al. 2021, Annals of
    Statistics 49, 1055-1080."""

    def add(self, live: Sequence[int], tasks: Sequence[Scores]) -> None:
        totals_KG, sizes_G = cluster_totals(tasks)
        gain_KK, largest = _differences(totals_KG).sum(axis=-1), sizes_G.max()
        rows = np.ix_(live, live)
        for stake, log_wealth_KK in zip(2 * STAKES_S, self._log_wealth_SKK, strict=True):
            bound = stake**2 * float((sizes_G**2).sum()) / largest**2 / 2
            log_wealth_KK[rows] += stake * gain_KK / largest - bound


class EmpiricalBernstein(Bets):
    """Wealth that pays for the squares of differences. Source: Fan et al. 2015, Electronic Journal
    of Probability 20; Howard et al. 2021."""

    def add(self, live: Sequence[int], tasks: Sequence[Scores]) -> None:
        totals_KG, sizes_G = cluster_totals(tasks)
        gains_KKG = _differences(totals_KG) / sizes_G.max()
        gain_KK, squares_KK = gains_KKG.sum(axis=-1), (gains_KKG**2).sum(axis=-1)
        rows = np.ix_(live, live)
        for stake, log_wealth_KK in zip(STAKES_S, self._log_wealth_SKK, strict=True):
            price = -np.log1p(-stake) - stake
            log_wealth_KK[rows] += stake * gain_KK - price * squares_KK


class Normal(Bets):
    """A mixture over effects of likelihood ratios of normal sums: holds for many clusters whose
    differences are about symmetric. Source: Waudby-Smith et al. 2024, Annals of Statistics 52."""

    def add(self, live: Sequence[int], tasks: Sequence[Scores]) -> None:
        totals_KG, sizes_G = cluster_totals(tasks)
        gains_KKG = _differences(totals_KG) / sizes_G.max()
        gain_KK, squares_KK = gains_KKG.sum(axis=-1), (gains_KKG**2).sum(axis=-1)
        rows = np.ix_(live, live)
        stakes = np.geomspace(0.1, 3.0, len(STAKES_S))
        for stake, log_wealth_KK in zip(stakes, self._log_wealth_SKK, strict=True):
            log_wealth_KK[rows] += stake * gain_KK - stake**2 * squares_KK / 2


class FixedLooks(Bets):
    """The board's own test after each batch, with the error divided by the number of batches and,
    after Bonferroni, of opponents. Evidence is 1/p: no e-value, but used like one."""

    def __init__(self, num_candidates: int) -> None:
        super().__init__(num_candidates)
        self._seen: list[list[Scores]] = []
        self._live: list[int] = list(range(num_candidates))
        self._frozen_KK = np.full((num_candidates, num_candidates), -np.inf)

    def add(self, live: Sequence[int], tasks: Sequence[Scores]) -> None:
        from scipy.special import log_ndtr

        kept = [self._live.index(k) for k in live]
        self._live = list(live)
        self._seen = [
            [one._replace(scores_KN=one.scores_KN[kept]) for one in batch] for batch in self._seen
        ] + [list(tasks)]
        means = aggregate([_joined(parts) for parts in zip(*self._seen, strict=True)])
        apart_KK = means.values_K[:, None] - means.values_K[None]
        logs_KK = -log_ndtr(-apart_KK / np.sqrt(means.variance_KK)) - np.log(len(ENDS))
        self._frozen_KK[np.ix_(live, live)] = logs_KK

    @property
    def log_evidence_KK(self) -> np.ndarray:
        found_KK = self._frozen_KK.copy()
        np.fill_diagonal(found_KK, -np.inf)
        return found_KK

    def log_evidence_K(self, top: int) -> np.ndarray:
        strongest_KK = np.sort(self.log_evidence_KK, axis=0)[::-1]
        found_K: np.ndarray = strongest_KK[top - 1] - np.log(len(strongest_KK) - top)
        return found_K


def _differences(totals_KG: np.ndarray) -> np.ndarray:
    found_KKG: np.ndarray = totals_KG[:, None] - totals_KG[None]
    return found_KKG


def _joined(parts: Sequence[Scores]) -> TaskScores:
    names = [name for part in parts for name in part.clusters]
    scores_KN = np.concatenate([part.scores_KN for part in parts], axis=1)
    return TaskScores(scores_KN=scores_KN, clusters_N=names)


TESTS: dict[str, Callable[[int], Bets]] = {
    "betting": Bets,
    "empirical Bernstein": EmpiricalBernstein,
    "Hoeffding": Hoeffding,
    "normal mixture, asymptotic": Normal,
    "fixed looks, the board's t, Bonferroni": FixedLooks,
}
