"""Statements about several means at once. Shape letters: K means, D draws."""

import numpy as np

from melange.harness.stats.clusters import t_quantile

NUM_DRAWS = 20_000


def simultaneous_quantile(
    covariance_KK: np.ndarray, degrees: float, level: float = 0.95, seed: int = 0
) -> float:
    """How many standard errors hold the largest deviation of any mean, in `level` of draws.

    From draws of the multivariate t distribution: candidates that answer alike count as few.
    Source: Hothorn, Bretz & Westfall 2008, Biometrical Journal 50, 346-363.
    """
    errors_K = np.sqrt(np.diag(covariance_KK))
    varied_K = errors_K > 0
    if varied_K.sum() < 2:
        return t_quantile(degrees, (1 + level) / 2)
    scale_K = 1 / errors_K[varied_K]
    correlation_KK = covariance_KK[np.ix_(varied_K, varied_K)] * scale_K[:, None] * scale_K
    values_K, vectors_KK = np.linalg.eigh(correlation_KK)
    rng = np.random.default_rng(seed)
    normal_DK = rng.standard_normal((NUM_DRAWS, len(scale_K))) * np.sqrt(np.maximum(values_K, 0))
    largest_D = np.abs(normal_DK @ vectors_KK.T).max(axis=1)
    spread_D = np.sqrt(rng.chisquare(degrees, NUM_DRAWS) / degrees)
    return float(np.quantile(largest_D / spread_D, level))
