"""Two sides that saw the same examples; corrections for many comparisons; what n can show."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from melange.harness.stats.clusters import Clustered, Clusters, cluster, t_quantile

GRID = 16_384
"""Steps into which the sum of all totals is cut for the exact test of fractions."""

MANY = 500
"""From so many totals on, the normal distribution replaces counting."""

PSEUDO = 0.25
"""Wins added to each side, so that an interval has a width even without differences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """left - right over the same examples, with its 95 % interval and two-sided p-value."""

    difference: float
    low: float
    high: float
    error: float
    """Standard error behind the interval."""
    p_value: float
    n: int
    left_only: int | None = None
    """Examples on which left scored higher; None where it was not counted."""
    right_only: int | None = None

    @property
    def verdict(self) -> str:
        """`higher`, `lower`, or `unclear` where the interval holds 0."""
        if self.low > 0:
            return "higher"
        return "lower" if self.high < 0 else "unclear"


def paired_difference(
    left: Sequence[float] | np.ndarray,
    right: Sequence[float] | np.ndarray,
    clusters: Clusters = None,
) -> Paired:
    """Mean of left - right over examples that both sides saw, in the same order.

    The p-value is that of the exact sign-flip test over clusters: for independent 0/1 scores it is
    McNemar's exact test.

    The interval is Student's t after a quarter of a win for each side, so that it has a width when
    few or no examples differ.

    Source: after Bonett & Price 2012, Journal of Educational and Behavioral Statistics 37,
    479-488, who add a whole win and use the normal distribution.
    """
    differences_N = np.asarray(left, dtype=np.float64) - np.asarray(right, dtype=np.float64)
    sums = cluster(differences_N, clusters)
    low, high, error = (float(of_K[0]) for of_K in _bounds(sums))
    if min(np.min(left), np.min(right)) >= 0 and max(np.max(left), np.max(right)) <= 1:
        low, high = max(-1.0, low), min(1.0, high)
    return Paired(
        difference=float(differences_N.mean()),
        low=low,
        high=high,
        error=error,
        p_value=sign_flip_p(sums.totals_KG[0]),
        n=len(differences_N),
        left_only=int((differences_N > 0).sum()),
        right_only=int((differences_N < 0).sum()),
    )


def difference_bounds(
    differences_KN: np.ndarray, clusters: Clusters = None
) -> tuple[np.ndarray, np.ndarray]:
    """The interval of `paired_difference` for each row: lower and upper ends, shape [K]."""
    low_K, high_K, _ = _bounds(cluster(differences_KN, clusters))
    return low_K, high_K


def _bounds(sums: Clustered) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower ends, upper ends, standard errors."""
    shrink = 1 / (1 + 2 * PSEUDO / sums.num_clusters)
    variances_K = sums.variances_K + 2 * PSEUDO * _step_K(sums) ** 2 / sums.num_examples**2
    errors_K = np.sqrt(variances_K) * shrink
    half_K = t_quantile(sums.degrees) * errors_K
    return sums.means_K * shrink - half_K, sums.means_K * shrink + half_K, errors_K


def _step_K(sums: Clustered) -> np.ndarray:
    """Size of a cluster's total where it is not 0: root mean square; cluster sizes if all are."""
    moved_K = (sums.totals_KG != 0).sum(axis=1)
    squares_K = (sums.totals_KG**2).sum(axis=1) / np.maximum(moved_K, 1)
    return np.sqrt(np.where(moved_K, squares_K, np.mean(sums.sizes_G**2)))


def sign_flip_p(totals: Sequence[float] | np.ndarray) -> float:
    """Two-sided p-value of the sum if the sign of every total were random.

    Exact for whole numbers. Up to `MANY` fractions are rounded to a fine grid, and the test is
    exact for the rounded ones. For more, their sum is normal, which is cautious in the tails.
    """
    from scipy.special import bdtr, ndtr

    totals_M = np.asarray(totals, dtype=np.float64)
    sizes_M = np.abs(totals_M[totals_M != 0])
    if not len(sizes_M):
        return 1.0
    if (sizes_M == sizes_M[0]).all():
        won = (totals_M > 0).sum()
        return float(min(1.0, 2 * bdtr(min(won, len(sizes_M) - won), len(sizes_M), 0.5)))
    if (sizes_M == np.rint(sizes_M)).all() and sizes_M.sum() <= 2 * GRID:
        return _exact_p(totals_M.astype(np.int64))
    if len(sizes_M) > MANY:
        return float(2 * ndtr(-abs(totals_M.sum()) / math.sqrt((totals_M**2).sum())))
    return _exact_p(np.rint(totals_M / sizes_M.sum() * GRID).astype(np.int64))


def least_sign_flip_p(num_totals: int) -> float:
    """The least `sign_flip_p` of so many totals that are not 0: all have one sign."""
    return min(1.0, 2.0 ** (1 - num_totals))


def _exact_p(totals_M: np.ndarray) -> float:
    """Of whole numbers, by adding up the distribution of what falls to one side."""
    sizes_M = np.abs(totals_M[totals_M != 0])
    chances_S = np.zeros(sizes_M.sum() + 1)
    chances_S[0], reach = 1.0, 1
    for size in np.sort(sizes_M):
        chances_S[size : reach + size] += chances_S[:reach].copy()
        reach += size
        chances_S[:reach] /= 2
    sums_S = 2 * np.arange(len(chances_S)) - sizes_M.sum()
    return float(min(1.0, chances_S[np.abs(sums_S) >= abs(totals_M.sum())].sum()))


def holm(p_values: Sequence[float] | np.ndarray, num_more: int = 0) -> list[float]:
    """Adjusted p-values: each below alpha is significant, with a chance of alpha of any error.

    `num_more`: comparisons that could have been made, and were not: they count as if they had shown
    nothing.

    Bit for bit those of statsmodels' `multipletests`, which runs Python's garbage collector at each
    call: a second in a process that has loaded an engine.

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    p_M = np.asarray(p_values, dtype=np.float64)
    order_M = np.argsort(p_M, kind="stable")
    scaled_M = p_M[order_M] * (np.arange(len(p_M), 0, -1) + num_more)
    adjusted_M = np.empty_like(p_M)
    adjusted_M[order_M] = np.minimum(1.0, np.maximum.accumulate(scaled_M))
    return [float(p) for p in adjusted_M]


def smallest_effect(
    n: int, standard_deviation: float, alpha: float = 0.05, power: float = 0.8
) -> float:
    """The true mean difference that n examples would show with this power, two-sided.

    `standard_deviation` is that of one example's difference.
    """
    from scipy.special import ndtri

    return float((ndtri(1 - alpha / 2) + ndtri(power)) * standard_deviation / math.sqrt(n))
