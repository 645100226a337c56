"""How often the gate cries wolf, and how often it sees what it is for.

    make gate-study                                      two real runs of the same, below runs/
    python tests/gate_study.py RUN AGAIN [MORE ...]      any runs that differ in noise only

Comparisons are resampled from real samples and real rounds, judged by the gate's own code, and
counted. The figures go into docs/gate.md.

What is resampled: of a cell, its examples with replacement (clusters as a whole), which run's
score is called the old one by a coin. Of speeds, whole rounds with all of their candidates, so
that a bad minute stays a bad minute, moved on to other candidates; plus what a run kept in all of
its rounds, from the differences between the real runs, moved on as well and with a random sign.

Shape letters: C candidates, W workloads, R rounds, N examples.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from harness.stats import wilson_interval  # noqa: E402
from reports.comparison import Change, Kind, Verdict, compare  # noqa: E402
from reports.comparison.examples import Pairs, pair_up  # noqa: E402
from reports.comparison.noise import RESTLESS, Paces, disturbed_share  # noqa: E402
from reports.comparison.quality import judged  # noqa: E402
from reports.comparison.speed import by_cell, paces, speed_estimates  # noqa: E402
from reports.comparison.verdict import judge  # noqa: E402
from reports.load import Reading, Run, load_run  # noqa: E402
from reports.rounds import read_rounds  # noqa: E402

PAGE = ROOT / "docs" / "gate.md"
BEGIN, END = "<!-- gate-study -->", "<!-- /gate-study -->"
EXAMPLES = 500
"""Of the cell in which a drop is planted."""
BAR = "at least 90 %"
LOSES = f"one candidate loses {{}} points on one task of {EXAMPLES} examples"
Generator = np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True)
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
    """The mean over runs and rounds, [C, W, 1]."""
    rounds: list[Paces]
    """What is left of each run's rounds after its own mean."""
    kept: list[Paces]
    """What is left of each run's mean after that of all runs, [C, W, 1]."""
    common: float
    """Standard deviation, between runs, of all candidates against the yardstick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    cells: list[Cell]
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
        cells=[cell for old, new in pairwise(runs) for cell in _cells(old, new)],
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
    own = [_each(one, _mean) for one in measured]
    level = _mean_of(own)
    kept = [_minus(one, level) for one in own]
    # Few runs lie nearer to their mean than runs do: the mean took a part with it.
    scale = (len(runs) / (len(runs) - 1)) ** 0.5
    shifts = [float(np.nanmedian(one.pace_CWR + one.yardstick_CWR)) for one in kept]
    return Speeds(
        candidates=candidates,
        workloads=list(dict.fromkeys(workload for _, workload in cells)),
        reference=candidates.index(suite.reference) if suite.reference in candidates else None,
        level=level,
        rounds=[_minus(one, mean) for one, mean in zip(measured, own, strict=True)],
        kept=[_each(_centred(one), lambda array_CWR: array_CWR * scale) for one in kept],
        common=float(np.sqrt(np.mean(np.square(shifts)))) * scale,
    )


def _each(one: Paces, change: Callable[[np.ndarray], np.ndarray]) -> Paces:
    return Paces(pace_CWR=change(one.pace_CWR), yardstick_CWR=change(one.yardstick_CWR))


def _mean(array_CWR: np.ndarray) -> np.ndarray:
    return np.nanmean(array_CWR, axis=2, keepdims=True)


def _mean_of(several: Sequence[Paces]) -> Paces:
    return Paces(
        pace_CWR=np.mean([one.pace_CWR for one in several], axis=0),
        yardstick_CWR=np.mean([one.yardstick_CWR for one in several], axis=0),
    )


def _minus(one: Paces, other: Paces) -> Paces:
    return Paces(
        pace_CWR=one.pace_CWR - other.pace_CWR,
        yardstick_CWR=one.yardstick_CWR - other.yardstick_CWR,
    )


def _centred(one: Paces) -> Paces:
    return _each(one, lambda a_CWR: a_CWR - np.nanmedian(a_CWR, axis=0, keepdims=True))


# --- drawn anew


def draw_pair(material: Material, flips: float, rng: Generator) -> Draw:
    """`flips`: a share of answers that are right in one run only, by a coin, on top of the real."""
    quality = [
        change_of(cell, resampled(cell.pairs, len(cell.pairs.old_N), flips, rng))
        for cell in material.cells
    ]
    return Draw(
        quality=quality, old=draw_run(material.speeds, rng), new=draw_run(material.speeds, rng)
    )


def change_of(cell: Cell, pairs: Pairs) -> Change:
    numbers = (Reading(value=float(v.mean()), reason="") for v in (pairs.old_N, pairs.new_N))
    return judged(cell.candidate, cell.task, *numbers, pairs, cell.higher_is_better)


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
    """Rounds of the real runs, and what one of them kept, both moved on to other candidates."""
    num_candidates, num_rounds = len(speeds.candidates), speeds.rounds[0].pace_CWR.shape[2]
    parts = [
        (speeds.rounds[rng.integers(len(speeds.rounds))], rng.integers(num_rounds))
        for _ in range(num_rounds)
    ]
    moves = rng.integers(num_candidates, size=num_rounds + 1)
    kept, sign = speeds.kept[rng.integers(len(speeds.kept))], rng.choice([-1, 1])
    # The residuals of few rounds are too small by what their own mean took with it.
    scale = (num_rounds / max(1, num_rounds - 1)) ** 0.5

    def drawn(pick: Callable[[Paces], np.ndarray]) -> np.ndarray:
        rounds = [
            np.roll(pick(one)[:, :, r], by, axis=0)
            for (one, r), by in zip(parts, moves[:-1], strict=True)
        ]
        kept_CW1 = sign * np.roll(pick(kept), moves[-1], axis=0)
        array_CWR: np.ndarray = pick(speeds.level) + kept_CW1 + scale * np.stack(rounds, axis=2)
        return array_CWR

    return Paces(
        pace_CWR=drawn(lambda one: one.pace_CWR) + rng.normal(0, speeds.common),
        yardstick_CWR=drawn(lambda one: one.yardstick_CWR),
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
    """The regressions that the gate names; it judges no speed of a restless machine."""
    if any(disturbed_share(one, speeds.reference) > RESTLESS for one in (old, new)):
        return [one for one in judge(quality) if one.verdict is Verdict.WORSE]
    found = speed_estimates(old, new, speeds.reference, speeds.candidates, speeds.workloads)
    return [one for one in judge([*quality, *found]) if one.verdict is Verdict.WORSE]


def study(material: Material, comparisons: int, flips: float, seed: int) -> list[Count]:
    rng = np.random.default_rng(seed)
    speeds = material.speeds
    alarms = Count("false alarm: two runs alike", "at most 5 %")
    drops = {p: Count(LOSES.format(p), BAR if p == 5 else "") for p in (3, 5, 10)}
    slow = {f: Count(f"one candidate takes {f - 1:.0%} longer", BAR if f == 1.15 else "")
            for f in (1.10, 1.15, 1.25)}  # fmt: skip
    engine = {f: Count(f"all candidates take {f - 1:.0%} longer", BAR if f == 1.15 else "")
              for f in (1.10, 1.15, 1.25)}  # fmt: skip
    for _ in range(comparisons):
        one = draw_pair(material, flips, rng)
        alarms.add(bool(verdicts(one.quality, one.old, one.new, speeds)))
        for points, count in drops.items():
            at, change = _planted(material, points, flips, rng)
            cells = [*one.quality[:at], change, *one.quality[at + 1 :]]
            found = verdicts(cells, one.old, one.new, speeds)
            count.add(any(_same(change, other) for other in found))
        victim = int(rng.integers(len(speeds.candidates)))
        for factor, count in slow.items():
            new = slowed(one.new, factor, victim)
            found = verdicts(one.quality, one.old, new, speeds)
            count.add(any(o.candidate == speeds.candidates[victim] for o in found))
        for factor, count in engine.items():
            new = slowed(one.new, factor)
            found = verdicts(one.quality, one.old, new, speeds)
            count.add(any(other.kind is Kind.ENGINE for other in found))
    return [alarms, *drops.values(), *slow.values(), *engine.values()]


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
        f"{sum(moved):,} of which differ between the real runs; {len(material.speeds.candidates)} "
        f"candidates on {len(material.speeds.workloads)} workloads."
    )
    lines = [
        about,
        "",
        "| Planted | Caught | Share, 95 % interval | Bar |",
        "| --- | --- | --- | --- |",
        *(count.row for count in counts),
    ]
    return "\n".join(lines)


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
    for flips in (0.0, 0.02):
        counts = study(material, options.comparisons, flips, options.seed)
        parts.append(table(material, runs, counts, flips))
        print(parts[-1], flush=True)
    if not options.dry:
        write("\n\n".join(parts))


if __name__ == "__main__":
    main()
