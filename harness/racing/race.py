"""Decides after each batch which candidates go on. Pure.

Shape letters: K candidates, N examples.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from melange.harness.racing.stop import Stop
from melange.harness.stats.betting import Bets, Scores, beaten, log_needed


class Batch(NamedTuple):
    """What the racing candidates scored on a batch's examples of one task."""

    clusters: Sequence[str]
    """A name per example, see `Scores`."""
    scores: Mapping[str, np.ndarray]
    """By candidate, in [0, 1], higher is better, shape [N]."""


class Race:
    """Candidates that answer the same examples, batch after batch, until it is shown of one that
    `top` others are better."""

    def __init__(
        self, candidates: Sequence[str], *, top: int, test: Callable[[int], Bets] = Bets
    ) -> None:
        self.top = top
        self.racing = list(candidates)
        """Those that have neither been stopped nor left."""
        self._places = {name: k for k, name in enumerate(candidates)}
        self._bets = test(len(candidates)) if candidates else None
        self._waiting: list[Mapping[str, Batch]] = []
        """By task, batches on which no bet has been made."""
        self._asked = 0

    def leave(self, candidate: str) -> None:
        """It failed on a task: it is not compared any more. Bets made before hold."""
        self.racing.remove(candidate)

    def add(self, batch: Mapping[str, Batch], share: float) -> dict[str, Stop]:
        """Bet on a batch, given by task; the candidates that it stops.

        `share`: of the examples, asked so far. While some task has no example, the batch waits for
        the next one: a bet needs every task, as a mean over tasks does.
        """
        self._asked += sum(len(one.clusters) for one in batch.values())
        self._waiting.append(batch)
        tasks = [self._joined(task) for task in batch]
        if self._bets is None or not self.racing or not all(len(one.clusters) for one in tasks):
            return {}
        live = [self._places[name] for name in self.racing]
        self._bets.add(live, tasks)
        self._waiting.clear()
        return self._stopped(live, share)

    def _joined(self, task: str) -> Scores:
        parts = [one[task] for one in self._waiting]
        rows = [np.concatenate([part.scores[name] for part in parts]) for name in self.racing]
        return Scores(np.array(rows), [name for part in parts for name in part.clusters])

    def _stopped(self, live: Sequence[int], share: float) -> dict[str, Stop]:
        assert self._bets is not None
        evidence_K, evidence_KK = self._bets.log_evidence_K(self.top), self._bets.log_evidence_KK
        names = list(self._places)
        found: dict[str, Stop] = {}
        for k in beaten(evidence_K, live):
            strongest = np.argsort(-evidence_KK[:, k], kind="stable")[: self.top]
            found[names[k]] = Stop(
                top=self.top,
                share=share,
                examples=self._asked,
                log10_e_value=float(evidence_K[k]) / math.log(10),
                log10_needed=log_needed(len(live) - len(found)) / math.log(10),
                behind=tuple(names[y] for y in strongest),
            )
        self.racing = [name for name in self.racing if name not in found]
        return found
