"""Means of scores that come in clusters: their covariance and its degrees of freedom.

Shape letters: K rows (candidates), N examples, G clusters.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Clusters = Sequence[str] | np.ndarray | None
"""A name or number per example; examples that share one are not independent.

"" shares with nobody. Numbers are faster, for those who ask often.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clustered:
    """Sums per cluster, which is all that means and their covariance need."""

    totals_KG: np.ndarray
    sizes_G: np.ndarray
    names_G: np.ndarray | None = None
    """Where clusters have names: those of several tasks with one name are one cluster."""

    @property
    def num_clusters(self) -> int:
        return len(self.sizes_G)

    @property
    def num_examples(self) -> int:
        return int(self.sizes_G.sum())

    @property
    def independent(self) -> bool:
        """Every example is a cluster of its own."""
        return self.num_clusters == self.num_examples

    @property
    def means_K(self) -> np.ndarray:
        return np.asarray(self.totals_KG.sum(axis=1) / self.num_examples)

    @property
    def covariance_KK(self) -> np.ndarray:
        """Of the means: the jackknife's, which leaves out one cluster at a time.

        For clusters of one size it is the sandwich estimator with its usual correction, G/(G - 1).
        A single cluster does not show how clusters differ: the variance is then the largest that
        scores in [0, 1] can have.

        Source: Bell & McCaffrey 2002, Survey Methodology 28, 169-181 (there CR3), for a mean.
        """
        if self.num_clusters < 2:
            return 0.25 * np.eye(len(self.totals_KG))
        shifts_KG = self.shifts_KG
        return np.asarray(shifts_KG @ shifts_KG.T)

    @property
    def variances_K(self) -> np.ndarray:
        """The covariance's diagonal."""
        if self.num_clusters < 2:
            return np.full(len(self.totals_KG), 0.25)
        return np.asarray((self.shifts_KG**2).sum(axis=1))

    @property
    def shifts_KG(self) -> np.ndarray:
        """What each cluster adds to the means, scaled so that squares add up to the variance."""
        if self.num_clusters < 2:
            return np.zeros_like(self.totals_KG)
        residuals_KG = self.totals_KG - self.means_K[:, None] * self.sizes_G
        correction = math.sqrt(1 - 1 / self.num_clusters)
        return np.asarray(residuals_KG * correction / (self.num_examples - self.sizes_G))

    @property
    def skews_K(self) -> np.ndarray:
        """Skewness of what clusters add, after Fisher; 0 where fewer than three differ."""
        num = self.num_clusters
        if num < 3:
            return np.zeros(len(self.totals_KG))
        squares_K, cubes_K = self.variances_K, (self.shifts_KG**3).sum(axis=1)
        scale = num * math.sqrt(num - 1) / (num - 2)
        varied_K = np.where(squares_K > 0, squares_K, np.inf)
        return np.asarray(scale * cubes_K / varied_K**1.5)

    @property
    def degrees(self) -> float:
        """Of that variance: G - 1 for clusters of one size, else fewer.

        Source: Satterthwaite's, as in Bell & McCaffrey, for their unbiased CR2.
        """
        if self.num_clusters < 2:
            return 1.0
        shares_G = self.sizes_G / self.num_examples
        leverage_G = shares_G**2 / (1 - shares_G)
        spread = (shares_G**2).sum() + leverage_G.sum() ** 2 - (leverage_G**2).sum()
        return float(1 / spread)


def cluster(scores_KN: np.ndarray, clusters: Clusters = None) -> Clustered:
    """Sum each row over the examples of each cluster."""
    scores_KN = np.atleast_2d(np.asarray(scores_KN, dtype=np.float64))
    if clusters is None:
        return Clustered(totals_KG=scores_KN, sizes_G=np.ones(scores_KN.shape[1]))
    codes_N, names_G = _codes(clusters)
    assert len(codes_N) == scores_KN.shape[1], "a cluster for every example"
    sizes_G = np.bincount(codes_N).astype(np.float64)
    if len(sizes_G) == len(codes_N):
        places_N = None if names_G is None else names_G[codes_N]
        return Clustered(totals_KG=scores_KN, sizes_G=sizes_G, names_G=places_N)
    order_N = np.argsort(codes_N, kind="stable")
    starts_G = np.r_[0, np.cumsum(sizes_G[:-1])].astype(np.int64)
    totals_KG = np.add.reduceat(scores_KN[:, order_N], starts_G, axis=1)
    return Clustered(totals_KG=totals_KG, sizes_G=sizes_G, names_G=names_G)


def _codes(clusters: Sequence[str] | np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Clusters as numbers from 0, without gaps, and the name of each where they have names."""
    names_N = np.asarray(clusters)
    if names_N.dtype.kind not in "iu":
        numbers: dict[object, int] = {}
        own = ((name if name != "" else (i,)) for i, name in enumerate(names_N.tolist()))
        codes = [numbers.setdefault(name, len(numbers)) for name in own]
        names_G = np.array([n if isinstance(n, str) else "" for n in numbers], dtype=object)
        return np.array(codes, dtype=np.int64), names_G
    return np.unique(names_N, return_inverse=True)[1], None


def t_quantile(degrees: float, level: float = 0.975) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, level))


def t_p_value(statistic: np.ndarray | float, degrees: float) -> np.ndarray:
    """Two-sided."""
    from scipy.special import stdtr

    return np.asarray(2 * stdtr(degrees, -np.abs(statistic)))
