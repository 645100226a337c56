"""Clusters that several tasks share: a fact that a task and its shifted twin both ask about.

Shape letters: K candidates, G clusters.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Influences(NamedTuple):
    """What each cluster of a task does to its means."""

    names_G: np.ndarray
    """Empty for a cluster that no other task shares."""
    shares_G: np.ndarray
    """Of the task's examples."""
    shifts_KG: np.ndarray
    """Products of two candidates' rows add up to their covariance."""

    def among(self, rows: np.ndarray, num_rows: int) -> "Influences":
        """At these rows of more; the others are not moved by any cluster."""
        shifts_KG = np.zeros((num_rows, self.shifts_KG.shape[1]))
        shifts_KG[rows] = self.shifts_KG
        return self._replace(shifts_KG=shifts_KG)

    def select(self, rows: np.ndarray) -> "Influences":
        return self._replace(shifts_KG=self.shifts_KG[rows])


def shared(told: Sequence[Influences], num_rows: int) -> tuple[np.ndarray, float]:
    """What clusters in several tasks add to the sum of the tasks' covariances, shape [K, K], and
    to the sum of their concentrations.

    The square of a sum has the products between tasks beside the squares of each.
    """
    times = Counter(name for one in told for name in one.names_G.tolist() if name)
    places = {name: g for g, name in enumerate(n for n, count in times.items() if count > 1)}
    covariance_KK, concentration = np.zeros((num_rows, num_rows)), 0.0
    sum_KG, sum_G = np.zeros((num_rows, len(places))), np.zeros(len(places))
    for one in told if places else ():
        mine_G = np.array([name in places for name in one.names_G.tolist()], dtype=bool)
        at_G = [places[name] for name in one.names_G[mine_G].tolist()]
        shifts_KG, shares_G = one.shifts_KG[:, mine_G], one.shares_G[mine_G]
        sum_KG[:, at_G] += shifts_KG
        sum_G[at_G] += shares_G
        covariance_KK -= shifts_KG @ shifts_KG.T
        concentration -= float(shares_G @ shares_G)
    return covariance_KK + sum_KG @ sum_KG.T, concentration + float(sum_G @ sum_G)
