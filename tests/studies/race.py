"""Measures what racing saves and how often it errs: `make race-study [RUN=FOLDER]`.

Replays a full evaluation with its questions in random order, and races. Whether the top group is
that of the full evaluation, how many examples were asked, for several tests and several TOPs; then
the same for candidates that are made equal, of which none may be stopped. docs/decisions/racing.md
has the figures.

Shape letters: K candidates, T tasks, N examples, G clusters.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from race_tests import TESTS  # noqa: E402

from melange.harness.racing.batches import batches, places  # noqa: E402
from melange.harness.racing.race import Batch, Race  # noqa: E402
from melange.harness.stats import Means, TaskScores, aggregate, rank_groups  # noqa: E402
from melange.harness.stats.betting import Bets  # noqa: E402
from melange.reports.analysis.run import load_run  # noqa: E402
from melange.reports.view import RunView  # noqa: E402

EQUAL = 40
SOURCES = 4
"""Candidates whose answers are mixed to make equal ones."""


@dataclass(frozen=True, kw_only=True)
class World:
    """What every candidate scores on every example."""

    candidates: list[str]
    scores: dict[str, np.ndarray]
    """By task, shape [K, N]."""
    clusters: dict[str, list[str]]
    """By task, a name per example; "" for a cluster of its own."""

    @property
    def num_examples(self) -> int:
        return sum(len(names) for names in self.clusters.values())

    def means(self, rows: Sequence[int]) -> Means:
        """Of these candidates, over all tasks with all examples."""
        return aggregate([
            TaskScores(scores_KN=self.scores[task][list(rows)], clusters_N=names)
            for task, names in self.clusters.items()
        ])  # fmt: skip

    def top_group(self, rows: Sequence[int], top: int) -> set[str]:
        """Those of these candidates that fewer than `top` of them beat significantly, as the board
        of a race has it: corrected for the pairs of those that were stopped, too."""
        ranks = rank_groups(self.means(rows), num_absent=len(self.candidates) - len(rows))
        return {self.candidates[k] for k, rank in zip(rows, ranks, strict=True) if rank <= top}


class Raced(NamedTuple):
    survivors: list[int]
    share: float
    """Of a full evaluation's examples."""


def world_of(folder: Path) -> World:
    view = RunView(load_run(folder))
    names = view.evidence.ranked
    scores, clusters = {}, {}
    for task in view.scope.tasks:
        found = [view.run.scores(name, task.name) for name in names]
        kept = [one for one in found if one is not None]
        scores[task.name] = np.stack([one.values_N for one in kept])
        clusters[task.name] = [
            "" if name.startswith("\0") else f"{task.cluster_by}: {name}"
            for name in kept[0].clusters_N
        ]
    return World(candidates=names, scores=scores, clusters=clusters)


def race(world: World, seed: int, top: int, test: Callable[[int], Bets] = Bets) -> Raced:
    """`seed`: of the order of questions."""
    at = places(world.clusters, seed)
    racing, asked = Race(world.candidates, top=top, test=test), 0
    rows = {name: k for k, name in enumerate(world.candidates)}
    for share in batches():
        batch = {}
        for task, place_N in at.items():
            chosen_N = np.flatnonzero((place_N >= share.begin) & (place_N < share.end))
            names = [world.clusters[task][n] for n in chosen_N]
            of_task = world.scores[task][:, chosen_N]
            batch[task] = Batch(names, {name: of_task[rows[name]] for name in racing.racing})
            asked += len(racing.racing) * len(chosen_N)
        racing.add(batch, share.end)
    whole = len(world.candidates) * world.num_examples
    return Raced([rows[name] for name in racing.racing], asked / whole)


def equal_world(world: World, seed: int) -> World:
    """Candidates with one true mean: each answers each cluster, whatever its tasks, as one of the
    best real candidates does, drawn anew."""
    rng = np.random.default_rng(seed)
    numbers: dict[object, int] = {}
    codes = {
        task: [numbers.setdefault(name or (task, n), len(numbers)) for n, name in enumerate(names)]
        for task, names in world.clusters.items()
    }
    source_KG = rng.integers(SOURCES, size=(EQUAL, len(numbers)))
    scores = {
        task: world.scores[task][source_KG[:, of_task], np.arange(len(of_task))]
        for task, of_task in codes.items()
    }
    return World(
        candidates=[f"equal {k}" for k in range(EQUAL)], scores=scores, clusters=world.clusters
    )


def compare_tests(world: World, shuffles: int) -> None:
    print(f"{'test':40}{'same top group':>15}{'examples':>10}{'most':>8}{'left':>6}")
    full = world.top_group(range(len(world.candidates)), 1)
    for name, test in TESTS.items():
        _line(name, world, 1, full, [race(world, s, 1, test) for s in range(shuffles)])


def compare_tops(world: World, shuffles: int) -> None:
    for top in (1, 2, 3, 5, 10):
        full = world.top_group(range(len(world.candidates)), top)
        _line(f"betting, --race {top}", world, top, full,
              [race(world, s, top) for s in range(shuffles)])  # fmt: skip


def _line(name: str, world: World, top: int, full: set[str], raced: Sequence[Raced]) -> None:
    known: dict[tuple[int, ...], bool] = {}
    for one in raced:
        key = tuple(one.survivors)
        if key not in known:
            known[key] = world.top_group(key, top) == full
    same = sum(known[tuple(one.survivors)] for one in raced)
    shares = [one.share for one in raced]
    left = np.mean([len(one.survivors) for one in raced])
    print(
        f"{name:40}{f'{same} of {len(raced)}':>15}{np.mean(shares):>10.1%}{max(shares):>8.1%}"
        f"{left:>6.1f}   of a top group of {len(full)}",
        flush=True,
    )


def errors_of_equals(title: str, world_of_seed: Callable[[int], World], runs: int) -> None:
    print(f"\n{EQUAL} equal candidates, {title}: runs in which any was stopped")
    for name, test in TESTS.items():
        wrong = sum(
            len(race(world_of_seed(seed), seed, 1, test).survivors) < EQUAL for seed in range(runs)
        )
        print(f"{name:40}{wrong} of {runs}", flush=True)


def skewed_world(seed: int) -> World:
    """Half of the candidates fail every tenth example, the others every tenth passage of ten: equal
    in the mean, but the second look better until their first passage fails."""
    rng = np.random.default_rng(seed)
    scores, clusters = {}, {}
    for task in ("one", "two"):
        single = rng.random((EQUAL // 2, 200)) < 0.9
        passages = np.repeat(rng.random((EQUAL // 2, 20)) < 0.9, 10, axis=1)
        scores[task] = np.concatenate([single, passages]).astype(float)
        clusters[task] = [f"{task} {n // 10}" for n in range(200)]
    return World(candidates=[f"equal {k}" for k in range(EQUAL)], scores=scores, clusters=clusters)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("run", type=Path)
    options.add_argument("--shuffles", type=int, default=100)
    options.add_argument("--equal", type=int, default=400, help="runs of equal candidates")
    asked = options.parse_args()
    world = world_of(asked.run)
    print(f"{len(world.candidates)} candidates, {world.num_examples} examples each")
    compare_tests(world, asked.shuffles)
    compare_tops(world, asked.shuffles)
    errors_of_equals("as the best are", partial(equal_world, world), asked.equal)
    errors_of_equals("with skewed differences", skewed_world, asked.equal)
    return 0


if __name__ == "__main__":
    sys.exit(main())
