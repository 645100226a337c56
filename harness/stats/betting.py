"""Which candidates cannot be among the best: a test that may be asked after every batch. Pure.

For every pair of candidates there is a gambler who starts with 1 and bets, batch after batch, that
the first has the higher mean over tasks. Where it has not, no way of betting gains on average, so
that wealth of w ever is as unlikely as 1/w (Ville's inequality). That holds for any number of
examples, whatever scores in [0, 1] look like, however often the test is asked, and whenever one
stops. Wealth is an e-value.

Source: Waudby-Smith & Ramdas 2023, Journal of the Royal Statistical Society B 86, 1-27. Ours are
stakes that stay the same within a batch, so that only the batch's mean matters, not how tasks and
clusters differ in it: the product of what independent clusters return is at most 1 on average if
the sum of their expected gains is at most 0, as the geometric mean is at most the arithmetic.

Shape letters: K candidates, T tasks, N examples, G clusters, S stakes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

STAKES_S = np.array([0.1, 0.3, 0.6, 0.9, 0.98])
"""Shares of its wealth that a gambler risks on the largest cluster; it has a fifth on each."""
ALPHA = 0.05


class Scores(NamedTuple):
    """A batch of a task's examples."""

    scores_KN: np.ndarray
    """In [0, 1], higher is better."""
    clusters: Sequence[str]
    """A name per example. A cluster of several tasks has one name in all; "" is a cluster of its
    own."""


class Bets:
    """The wealth of all pairs' gamblers."""

    def __init__(self, num_candidates: int) -> None:
        assert num_candidates > 0
        self._log_wealth_SKK = np.zeros((len(STAKES_S), num_candidates, num_candidates))

    def add(self, live: Sequence[int], tasks: Sequence[Scores]) -> None:
        """Bet on a batch of every task. Only the `live` candidates have scores, in this order; the
        others' wealth stays."""
        totals_KG, sizes_G = cluster_totals(tasks)
        gains_KKG = (totals_KG[:, None] - totals_KG[None]) / sizes_G.max()
        rows = np.ix_(live, live)
        for stake, log_wealth_KK in zip(STAKES_S, self._log_wealth_SKK, strict=True):
            log_wealth_KK[rows] += np.log1p(stake * gains_KKG).sum(axis=-1)

    @property
    def log_evidence_KK(self) -> np.ndarray:
        """Logarithm of the e-value for: row is better than column. -inf on the diagonal."""
        found_KK = _log_mean(self._log_wealth_SKK)
        np.fill_diagonal(found_KK, -np.inf)
        return found_KK

    def log_evidence_K(self, top: int) -> np.ndarray:
        """Logarithm of the e-value for: at least `top` candidates are better than this one.

        The mean over the others but the `top` - 1 strongest: were fewer than `top` truly better,
        the rest could not be, and leaving out the strongest leaves no more than leaving out those.
        """
        num = self._log_wealth_SKK.shape[1]
        if num <= top:
            return np.full(num, -np.inf)
        weakest_KK = np.sort(self.log_evidence_KK, axis=0)[1 : num - top + 1]
        return _log_mean(weakest_KK)


def _log_mean(logs: np.ndarray) -> np.ndarray:
    """Logarithm of the mean over the first axis."""
    from scipy.special import logsumexp

    return np.asarray(logsumexp(logs, axis=0) - np.log(len(logs)))


def beaten(log_evidence_K: np.ndarray, live: Sequence[int], alpha: float = ALPHA) -> list[int]:
    """The live candidates that are not among the best, strongest evidence first.

    With a chance of at most alpha, any candidate that is among the best is ever returned: the mean
    of those candidates' e-values is one, too. That is Holm's procedure for e-values: each has to
    reach as many times 1/alpha as candidates are left.

    Source: Vovk & Wang 2021, Annals of Statistics 49, 1736-1754.
    """
    found: list[int] = []
    for k in sorted(live, key=lambda k: -float(log_evidence_K[k])):
        if log_evidence_K[k] < log_needed(len(live) - len(found), alpha):
            break
        found.append(k)
    return found


def log_needed(num_live: int, alpha: float = ALPHA) -> float:
    """Logarithm of the e-value that stops one of so many candidates."""
    return float(np.log(num_live / alpha))


def cluster_totals(tasks: Sequence[Scores]) -> tuple[np.ndarray, np.ndarray]:
    """What each cluster of a batch adds to the means over tasks [K, G], and what it would add if
    all its scores were 1 [G]."""
    numbers: dict[object, int] = {}
    codes = [
        numbers.setdefault(name or (t, n), len(numbers))
        for t, (_, names) in enumerate(tasks)
        for n, name in enumerate(names)
    ]
    weights = [1 / (len(tasks) * len(names)) for _, names in tasks for _ in names]
    scores_KN = np.concatenate([scores_KN for scores_KN, _ in tasks], axis=1)
    totals_GK = np.zeros((len(numbers), len(scores_KN)))
    np.add.at(totals_GK, codes, (scores_KN * weights).T)
    return totals_GK.T, np.bincount(codes, weights)
