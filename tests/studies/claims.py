"""Simulates what the statistics claim, and writes docs/statistics.md: `make stats-study`.

Shape letters: K candidates, N examples, T tasks, G clusters, R draws.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from melange.harness.stats import (  # noqa: E402
    TaskScores,
    aggregate,
    rank_groups,
    score_bounds,
    wilson_interval,
)
from studies.shared_facts import Facts, pocket_facts  # noqa: E402
from studies.steps import NOISES, rate  # noqa: E402

PAGE = ROOT / "docs" / "statistics.md"
BEGIN, END = "<!-- stats-study -->", "<!-- /stats-study -->"
NUM_EQUAL = 40
DRAWS = 4000


@dataclass(slots=True)
class Line:
    what: str
    bar: str
    hits: int = 0
    of: int = 0

    def add(self, *hits: bool) -> None:
        self.hits += sum(map(int, hits))
        self.of += len(hits)

    @property
    def row(self) -> str:
        low, high = wilson_interval(self.hits / self.of, self.of)
        share = f"{self.hits / self.of:.1%} ({low:.1%}–{high:.1%})"
        return f"| {self.what} | {share} | {self.of:,} | {self.bar} |"


COVERED = "93 to 97 %"


def equal_candidates(facts: Facts, runs: int, sharing: float) -> list[Line]:
    """Forty equal candidates on the pocket tasks."""
    apart = Line(f"{NUM_EQUAL} equal candidates: runs with a separation", "at most 5 %")
    mean = Line("their means are covered", COVERED)
    difference = Line("their differences are covered", COVERED)
    leader = Line("the leader's mean is covered", "at least 93 %")
    plain = Line("the leader's mean, were its interval that of any other", "")
    rng = np.random.default_rng(1)
    for _ in range(runs):
        truth_T = rng.uniform(0.2, 0.8, len(facts.names))
        means = aggregate(facts.answers(rng, truth_T, NUM_EQUAL, sharing))
        truth, best = truth_T.mean(), int(np.argmax(means.values_K))
        own, chosen, pair = means.interval(0), means.chosen(best), means.difference(1, 2)
        apart.add(max(rank_groups(means)) > 1)
        mean.add(own.low <= truth <= own.high)
        difference.add(pair.low <= 0 <= pair.high)
        leader.add(chosen.low <= truth <= chosen.high)
        plain.add(means.low_K[best] <= truth <= means.high_K[best])
    return [apart, mean, difference, leader, plain]


def independently(facts: Facts, runs: int, sharing: float) -> list[Line]:
    """The same draws, with the tasks' facts under names of their own."""
    apart = Line("the same, with facts counted as independent between tasks", "")
    rng = np.random.default_rng(1)
    for _ in range(runs):
        truth_T = rng.uniform(0.2, 0.8, len(facts.names))
        scores = facts.answers(rng, truth_T, NUM_EQUAL, sharing)
        alone = [
            TaskScores(scores_KN=one.scores_KN, clusters_N=np.char.add(f"{at} ", one.clusters_N))
            for at, one in enumerate(scores)
        ]
        apart.add(max(rank_groups(aggregate(alone))) > 1)
    return [apart]


CLUSTERS = ([50] * 3, [20] * 5, [10] * 10, [30] * 10, [10] * 20, [5] * 50)


def few_clusters() -> Iterator[Line]:
    """Shares whose examples come in clusters; half of the pairs in a cluster answer as one."""
    for sizes in CLUSTERS:
        bar = COVERED if len(sizes) >= 10 else "at least 93 %"
        line = Line(f"{len(sizes)} clusters of {sizes[0]}: a mean is covered", bar)
        rng = np.random.default_rng(2)
        names_N = np.repeat(np.arange(len(sizes)), sizes)
        truth_R = rng.uniform(0.2, 0.8, DRAWS)
        fact_RN = (rng.random((DRAWS, len(sizes))) < truth_R[:, None])[:, names_N]
        alone_RN = rng.random(fact_RN.shape) < truth_R[:, None]
        follows_RN = rng.random(fact_RN.shape) < np.sqrt(0.5)
        scores_RN = np.where(follows_RN, fact_RN, alone_RN).astype(float)
        low_R, high_R = score_bounds(scores_RN, names_N)
        line.add(*((low_R <= truth_R) & (truth_R <= high_R)))
        yield line


SKEWED: dict[str, tuple[Callable[[np.random.Generator, tuple[int, int]], np.ndarray], float]] = {
    "normal": (lambda rng, shape: rng.normal(3, 1, shape), 3.0),
    "exponential": (lambda rng, shape: rng.exponential(3, shape), 3.0),
    "lognormal, σ 1": (lambda rng, shape: rng.lognormal(0, 1, shape), float(np.exp(0.5))),
}


def skewed() -> Iterator[Line]:
    for name, (draw, truth) in SKEWED.items():
        for n in (10, 100):
            line = Line(f"{name} scores, n = {n}: a mean is covered", COVERED)
            low_R, high_R = score_bounds(draw(np.random.default_rng(3), (DRAWS, n)))
            line.add(*((low_R <= truth) & (truth <= high_R)))
            yield line


def steps() -> Iterator[Line]:
    name = "correlation of neighbours 0.9"
    for nights in (30, 90, 365):
        line = Line(f"{nights} nights, {name}: series with a false step", "at most 5 %")
        series = 100 + NOISES[name](np.random.default_rng(4), (2000, nights))
        line.hits, line.of = round(len(series) * rate(series, bool)), len(series)
        yield line


def table(lines: Sequence[Line]) -> str:
    head = "| What | Share, 95 % interval | Of | Bar |\n| --- | --- | --- | --- |"
    return "\n".join([head, *(line.row for line in lines)])


def study(runs: int) -> str:
    facts = pocket_facts()
    shared = f"{facts.num_shared} of the {len(facts.names)} averaged pocket tasks share facts"
    parts = [
        f"{shared} with another one; four of five answers about a fact follow from knowing it.",
        table([*equal_candidates(facts, runs, 0.8), *independently(facts, runs // 5, 0.8)]),
        table([*few_clusters(), *skewed(), *steps()]),
    ]
    return "\n\n".join(parts)


def write(text: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    block = re.compile(f"{BEGIN}.*{END}", re.DOTALL)
    PAGE.write_text(block.sub(lambda _: f"{BEGIN}\n{text}\n{END}", page), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="simulated runs (1000)")
    told = study(parser.parse_args().runs)
    print(told)
    write(told)
