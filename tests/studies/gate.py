"""How often the gate cries wolf, and how often it sees what it is for.

    make gate-study                                      two real runs of the same, below runs/
    python tests/studies/gate.py RUN AGAIN [MORE ...]      any runs that differ in noise only

Comparisons are resampled from real samples and real rounds, judged by the gate's own code, and
counted. The figures go into docs/gate.md.

What is resampled: of a cell, its examples with replacement (clusters as a whole), which run's
score is called the old one by a coin. Of speeds, a real run with all of its rounds, its candidates'
histories dealt out anew: what a candidate's rounds did together, they still do. How far a run lies
from others as a whole is drawn from a normal distribution.

Shape letters: C candidates, W workloads, R rounds, N examples.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from melange.harness.runs.reader import read_rounds  # noqa: E402
from melange.harness.stats import QUIET, wilson_interval  # noqa: E402
from melange.reports.analysis.comparison import Change, Kind, Verdict, compare  # noqa: E402
from melange.reports.analysis.comparison.changes import unjudged  # noqa: E402
from melange.reports.analysis.comparison.examples import Pairs, pair_up  # noqa: E402
from melange.reports.analysis.comparison.noise import RESTLESS, Paces, steadied, unrest  # noqa: E402
from melange.reports.analysis.comparison.quality import judged  # noqa: E402
from melange.reports.analysis.comparison.speed import by_cell, paces, speed_estimates  # noqa: E402
from melange.reports.analysis.comparison.verdict import POWER, judge, smallest_slowdown  # noqa: E402
from melange.reports.analysis.run import Reading, Run, load_run  # noqa: E402

PAGE = ROOT / "docs" / "gate.md"
BEGIN, END = "<!-- gate-study -->", "<!-- /gate-study -->"
EXAMPLES = 500
"""Of the cell in which a drop is planted."""
BAR = "at least 90 %"
LOSES = f"one candidate loses {{}} points on one task of {EXAMPLES} examples"
Generator = np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cell:
    candidate: str
    task: str
    pairs: Pairs
    higher_is_better: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """What runs that should be alike did."""

    candidates: list[str]
    workloads: list[str]
    reference: int | None
    level: Paces
    """The mean over runs of the quiet rounds' pace, [C, W, 1]."""
    runs: list[Paces]
    """How each run's rounds lie to that, [C, W, R], all candidates' share taken off."""
    machine: float
    """Standard deviation, between runs, of what all candidates share."""
    engine: float
    """The same, less what the yardstick explains of it."""
    noise: float
    """The same between two runs, of what a candidate has for itself over its workloads."""
    disturbed: list[float]
    """Share of each run's rounds that other work got into."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    cells: tuple[Cell, ...]
    speeds: Speeds


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Two runs that differ in noise only."""

    quality: list[Change]
    old: Paces
    new: Paces


@dataclass(slots=True)
class Count:
    what: str
    bar: str
    caught: int = 0
    of: int = 0

    def add(self, caught: bool) -> None:
        self.caught += caught
        self.of += 1

    @property
    def row(self) -> str:
        low, high = wilson_interval(self.caught / self.of, self.of)
        share = f"{self.caught / self.of:.1%} ({low:.1%}–{high:.1%})"
        return f"| {self.what} | {self.caught} of {self.of} | {share} | {self.bar} |"


# --- from real runs


def load_material(runs: Sequence[Run]) -> Material:
    return Material(
        cells=tuple(cell for old, new in pairwise(runs) for cell in _cells(old, new)),
        speeds=_speeds(runs),
    )


def _cells(old: Run, new: Run) -> Iterator[Cell]:
    for one in compare(old, new).of(Kind.QUALITY):
        if not one.reason:
            pairs = pair_up(old, new, one.candidate, one.subject)
            assert isinstance(pairs, Pairs)
            yield Cell(
                candidate=one.candidate,
                task=one.subject,
                pairs=pairs,
                higher_is_better=one.higher_is_better,
            )


def _speeds(runs: Sequence[Run]) -> Speeds:
    rounds = [by_cell(read_rounds(run.folder / "rounds.jsonl")) for run in runs]
    cells = [cell for cell in rounds[0] if all(cell in other for other in rounds)]
    assert cells, "these runs kept no rounds in common"
    candidates = list(dict.fromkeys(candidate for candidate, _ in cells))
    suite = runs[0].manifest.suite
    assert suite is not None
    measured = paces(rounds, cells)
    # What all candidates share, the gate reads off the rounds as they are, a candidate's own off
    # those without the drift.
    together = [_of_all(one) for one in _levels([_quiet(one) for one in measured])[1]]
    quiet = [_quiet(replace(one, pace_CWR=steadied(one.pace_CWR))) for one in measured]
    level, kept = _levels(quiet)
    shared = [_of_all(one) for one in kept]
    return Speeds(
        candidates=candidates,
        workloads=list(dict.fromkeys(workload for _, workload in cells)),
        reference=candidates.index(suite.reference) if suite.reference in candidates else None,
        level=level,
        runs=[
            _both(lambda a, top, own, all_: a - top + own - all_, *parts)
            for parts in zip(measured, quiet, kept, shared, strict=True)
        ],
        machine=_size([one.pace_CWR for one in together]),
        engine=_size([one.pace_CWR + one.yardstick_CWR for one in together]),
        noise=float(
            np.sqrt(2)
            * np.std(
                [
                    (one.pace_CWR - all_.pace_CWR).mean(axis=1)
                    for one, all_ in zip(kept, shared, strict=True)
                ]
            )
        ),
        disturbed=[unrest(one).disturbed for one in measured],
    )


def _quiet(run: Paces) -> Paces:
    """What stands for a cell, and for its yardstick."""
    return Paces(
        pace_CWR=np.quantile(run.pace_CWR, 1 - QUIET, axis=2, keepdims=True),
        yardstick_CWR=np.quantile(run.yardstick_CWR, QUIET, axis=2, keepdims=True),
    )


def _levels(runs: Sequence[Paces]) -> tuple[Paces, list[Paces]]:
    """The mean of the runs, and how each lies to it."""
    # Runs lie nearer to their own mean than to each other: it took a part of each with it.
    scale = (len(runs) / (len(runs) - 1)) ** 0.5
    level = _both(lambda *several: np.mean(several, axis=0), *runs)
    return level, [_both(lambda a, b: scale * (a - b), one, level) for one in runs]


def _of_all(run: Paces) -> Paces:
    return _both(lambda a: np.median(a, axis=0, keepdims=True), run)


def _both(change: Callable[..., np.ndarray], *several: Paces) -> Paces:
    return Paces(
        pace_CWR=change(*(one.pace_CWR for one in several)),
        yardstick_CWR=change(*(one.yardstick_CWR for one in several)),
    )


def _size(shifts: Sequence[np.ndarray]) -> float:
    """Of each run's mean over workloads, around 0."""
    return float(np.sqrt(np.mean([one.mean() ** 2 for one in shifts])))


# --- drawn anew


def draw_pair(material: Material, flips: float, rng: Generator) -> Draw:
    """`flips`: a share of answers that are right in one run only, by a coin, on top of the real."""
    return Draw(
        quality=[_redrawn(cell, same, flips, rng) for cell, same in _with_same(material.cells)],
        old=draw_run(material.speeds, rng),
        new=draw_run(material.speeds, rng),
    )


def _redrawn(cell: Cell, same: Change | None, flips: float, rng: Generator) -> Change:
    if same is not None and not flips:
        return same
    return change_of(cell, resampled(cell.pairs, len(cell.pairs.old_N), flips, rng))


@cache
def _with_same(cells: tuple[Cell, ...]) -> list[tuple[Cell, Change | None]]:
    """A cell in which no score differs gives the same change however its examples are drawn."""
    found = [(cell, cell.pairs) for cell in cells]
    return [
        (cell, change_of(cell, pairs) if np.array_equal(pairs.old_N, pairs.new_N) else None)
        for cell, pairs in found
    ]


def change_of(cell: Cell, pairs: Pairs) -> Change:
    old, new = (Reading(value=float(v.mean()), reason="") for v in (pairs.old_N, pairs.new_N))
    change = unjudged(Kind.QUALITY, cell.candidate, cell.task, (old, new), "")
    return judged(replace(change, higher_is_better=cell.higher_is_better), pairs)


def resampled(pairs: Pairs, num_examples: int, flips: float, rng: Generator) -> Pairs:
    rows_N = _rows(pairs, num_examples, rng)
    old_N, new_N = pairs.old_N[rows_N], pairs.new_N[rows_N]
    if rng.random() < 0.5:
        old_N, new_N = new_N, old_N
    flipped_N, coin_N = rng.random(num_examples) < flips, rng.random(num_examples) < 0.5
    old_N, new_N = np.where(flipped_N, coin_N, old_N), np.where(flipped_N, ~coin_N, new_N)
    clusters_N = None if pairs.clusters_N is None else pairs.clusters_N[rows_N]
    numbers_N = np.arange(num_examples)
    return Pairs(examples_N=numbers_N, old_N=old_N, new_N=new_N, clusters_N=clusters_N)


def _rows(pairs: Pairs, num_examples: int, rng: Generator) -> np.ndarray:
    if pairs.clusters_N is None:
        return rng.integers(len(pairs.old_N), size=num_examples)
    _, which_N = np.unique(pairs.clusters_N, return_inverse=True)
    members = [np.flatnonzero(which_N == g) for g in range(which_N.max() + 1)]
    found: list[int] = []
    while len(found) < num_examples:
        found += list(members[rng.integers(len(members))])
    return np.array(found[:num_examples])


def draw_run(speeds: Speeds, rng: Generator) -> Paces:
    """A real run, whose candidates change places, somewhere between the runs as a whole."""
    history = speeds.runs[rng.integers(len(speeds.runs))]
    places = rng.permutation(len(speeds.candidates))
    machine, engine = rng.normal(0, speeds.machine), rng.normal(0, speeds.engine)
    return Paces(
        pace_CWR=speeds.level.pace_CWR + history.pace_CWR[places] + machine + engine,
        yardstick_CWR=speeds.level.yardstick_CWR + history.yardstick_CWR[places] - machine,
    )


# --- planted


def forget(cell: Cell, points: float, flips: float, rng: Generator) -> Change | None:
    """`points` of `EXAMPLES` answers lost; None where the cell has not so many right ones."""
    pairs = resampled(cell.pairs, EXAMPLES, flips, rng)
    right, wrong = (1.0, 0.0) if cell.higher_is_better else (0.0, 1.0)
    known = np.flatnonzero((pairs.old_N == right) & (pairs.new_N == right))
    number = round(points / 100 * EXAMPLES)
    if len(known) < number:
        return None
    new_N = pairs.new_N.copy()
    new_N[rng.choice(known, number, replace=False)] = wrong
    return change_of(cell, replace(pairs, new_N=new_N))


def slowed(new: Paces, factor: float, candidate: int | None = None) -> Paces:
    """Rounds take `factor` times as long: of one candidate, or of all where it is None."""
    pace_CWR = new.pace_CWR.copy()
    pace_CWR[slice(None) if candidate is None else candidate] -= np.log(factor)
    return replace(new, pace_CWR=pace_CWR)


# --- counted


def verdicts(quality: Sequence[Change], old: Paces, new: Paces, speeds: Speeds) -> list[Change]:
    """The regressions that the gate names."""
    return [one for one in judged_all(quality, old, new, speeds) if one.verdict is Verdict.WORSE]


def judged_all(quality: Sequence[Change], old: Paces, new: Paces, speeds: Speeds) -> list[Change]:
    """It judges no speed of a restless machine."""
    if is_restless(old, new):
        return judge(quality)
    found = speed_estimates(old, new, speeds.reference, speeds.candidates, speeds.workloads)
    return judge([*quality, *found])


def is_restless(*runs: Paces) -> bool:
    return any(unrest(one).lost_candidates > RESTLESS for one in runs)


def study(material: Material, comparisons: int, flips: float, seed: int) -> list[Count]:
    rng = np.random.default_rng(seed)
    speeds = material.speeds
    alarms = Count("nothing: a false alarm", "at most 5 %")
    quiet = Count("nothing: quiet enough to judge speeds", "")
    drops = {p: Count(LOSES.format(p), BAR if p == 5 else "") for p in (3, 5, 10)}
    slow = {f: Count(f"one candidate takes {f - 1:.0%} longer", BAR if f == 1.15 else "")
            for f in (1.10, 1.15, 1.25)}  # fmt: skip
    engine = {f: Count(f"all candidates take {f - 1:.0%} longer", BAR if f == 1.15 else "")
              for f in (1.10, 1.15, 1.25)}  # fmt: skip
    stated = {
        kind: Count(f"{who} as much longer as the gate says it sees", f"about {POWER:.0%}")
        for kind, who in ((Kind.SPEED, "one candidate takes"), (Kind.ENGINE, "all candidates take"))
    }
    for _ in range(comparisons):
        one = draw_pair(material, flips, rng)
        quiet.add(not is_restless(one.old, one.new))
        alarms.add(bool(verdicts(one.quality, one.old, one.new, speeds)))
        for points, count in drops.items():
            at, change = _planted(material, points, flips, rng)
            cells = [*one.quality[:at], change, *one.quality[at + 1 :]]
            found = verdicts(cells, one.old, one.new, speeds)
            count.add(any(_same(change, other) for other in found))
        victim = int(rng.integers(len(speeds.candidates)))
        for factor, count in slow.items():
            count.add(_names(one, speeds, factor, victim))
        for factor, count in engine.items():
            count.add(_names(one, speeds, factor, None))
        changes = judged_all(one.quality, one.old, one.new, speeds)
        for kind, who in ((Kind.SPEED, victim), (Kind.ENGINE, None)):
            amount = smallest_slowdown(changes, kind)
            if amount is not None:
                stated[kind].add(_names(one, speeds, 1 + amount, who))
    return [quiet, alarms, *drops.values(), *slow.values(), *engine.values(),
            *(one for one in stated.values() if one.of)]  # fmt: skip


def _names(draw: Draw, speeds: Speeds, factor: float, victim: int | None) -> bool:
    """Whether the gate sees that a candidate, or all where it is None, takes `factor` times as
    long."""
    found = verdicts(draw.quality, draw.old, slowed(draw.new, factor, victim), speeds)
    if victim is None:
        return any(one.kind is Kind.ENGINE for one in found)
    return any(one.candidate == speeds.candidates[victim] for one in found)


def _planted(material: Material, points: float, flips: float, rng: Generator) -> tuple[int, Change]:
    while True:
        at = int(rng.integers(len(material.cells)))
        change = forget(material.cells[at], points, flips, rng)
        if change is not None:
            return at, change


def _same(left: Change, right: Change) -> bool:
    return (left.kind, left.candidate, left.subject) == (right.kind, right.candidate, right.subject)


# --- written


def table(material: Material, runs: Sequence[Run], counts: Sequence[Count], flips: float) -> str:
    moved = [len(cell.pairs.old_N[cell.pairs.old_N != cell.pairs.new_N]) for cell in material.cells]
    answers = sum(len(cell.pairs.old_N) for cell in material.cells)
    noise = f", and {flips:.0%} of all answers right in one run only, by a coin" if flips else ""
    about = (
        f"{len(runs)} runs{noise}: {len(material.cells)} cells, {answers:,} pairs of answers, "
        f"{sum(moved):,} of which differ between the real runs; {_about_speeds(material.speeds)}."
    )
    lines = [
        about,
        "",
        "| Planted | Caught | Share, 95 % interval | Bar |",
        "| --- | --- | --- | --- |",
        *(count.row for count in counts),
    ]
    return "\n".join(lines)


def _about_speeds(speeds: Speeds) -> str:
    rounds = (
        f"{run.pace_CWR.shape[2]} rounds ({share:.0%} disturbed)"
        for run, share in zip(speeds.runs, speeds.disturbed, strict=True)
    )
    return (
        f"{len(speeds.candidates)} candidates on {len(speeds.workloads)} workloads in "
        f"{', '.join(rounds)}; a candidate's noise between two runs is {speeds.noise:.1%}"
    )


def write(text: str) -> None:
    page = PAGE.read_text()
    pattern = re.compile(f"{BEGIN}.*{END}", re.DOTALL)
    PAGE.write_text(pattern.sub(lambda _: f"{BEGIN}\n{text}\n{END}", page))


def main() -> None:
    parser = argparse.ArgumentParser(description="How often the gate errs, and how often it sees.")
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs that should be alike")
    parser.add_argument("--comparisons", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dry", action="store_true", help="print, and leave docs/gate.md alone")
    options = parser.parse_args()
    if len(options.runs) < 2:
        parser.error("two runs of the same are needed, for what differs between them")
    runs = [load_run(folder) for folder in options.runs]
    material = load_material(runs)
    parts = []
    for flips in (0.0, 0.01):
        counts = study(material, options.comparisons, flips, options.seed)
        parts.append(table(material, runs, counts, flips))
        print(parts[-1], flush=True)
    if not options.dry:
        write("\n\n".join(parts))


if __name__ == "__main__":
    main()
