"""Measures how often the gate raises false alarms, and how often it detects regressions.

    make gate-study                                      makes two equal runs below runs/
    python tests/studies/gate.py RUN AGAIN [MORE ...]      any runs that differ in noise only

Comparisons are resampled from real samples and rounds, judged by the gate's own code, and counted.
docs/gate.md has the figures.

resampled_runs.py describes the resampling.

Shape letters: C candidates, W workloads, R rounds, N examples.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from melange.harness.stats import wilson_interval  # noqa: E402
from melange.reports.analysis.comparison import Change, Kind, Verdict  # noqa: E402
from melange.reports.analysis.comparison.noise import RESTLESS, LogRounds, unrest  # noqa: E402
from melange.reports.analysis.comparison.speed import speed_estimates  # noqa: E402
from melange.reports.analysis.comparison.verdict import POWER, judge, smallest_slowdown  # noqa: E402
from melange.reports.analysis.run import Run, load_run  # noqa: E402
from studies.resampled_runs import (  # noqa: E402
    Cell,
    Draw,
    Generator,
    Material,
    Speeds,
    change_of,
    draw_pair,
    load_material,
    resampled,
)

PAGE = ROOT / "docs" / "gate.md"
BEGIN, END = "<!-- gate-study -->", "<!-- /gate-study -->"
EXAMPLES = 500
"""Number of examples of the cell in which a drop is planted."""
BAR = "at least 90 %"
LOSES = f"one candidate loses {{}} points on one task of {EXAMPLES} examples"


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


# --- planted


def forget(cell: Cell, points: float, flips: float, rng: Generator) -> Change | None:
    """Turns right answers wrong, `points` percent of `EXAMPLES`; None if there are too few."""
    pairs = resampled(cell.pairs, EXAMPLES, flips, rng)
    right, wrong = (1.0, 0.0) if cell.higher_is_better else (0.0, 1.0)
    known = np.flatnonzero((pairs.old_N == right) & (pairs.new_N == right))
    number = round(points / 100 * EXAMPLES)
    if len(known) < number:
        return None
    new_N = pairs.new_N.copy()
    new_N[rng.choice(known, number, replace=False)] = wrong
    return change_of(cell, replace(pairs, new_N=new_N))


def slowed(new: LogRounds, factor: float, candidate: int | None = None) -> LogRounds:
    """Rounds take `factor` times as long, for one candidate, or for all if it is None."""
    throughput_CWR = new.throughput_CWR.copy()
    throughput_CWR[slice(None) if candidate is None else candidate] -= np.log(factor)
    return replace(new, throughput_CWR=throughput_CWR)


# --- counted


def verdicts(
    quality: Sequence[Change], old: LogRounds, new: LogRounds, speeds: Speeds
) -> list[Change]:
    """The regressions that the gate reports."""
    return [one for one in judged_all(quality, old, new, speeds) if one.verdict is Verdict.WORSE]


def judged_all(
    quality: Sequence[Change], old: LogRounds, new: LogRounds, speeds: Speeds
) -> list[Change]:
    """All changes with the gate's verdicts; on a busy machine, those of quality alone."""
    if is_restless(old, new):
        return judge(quality)
    found = speed_estimates(old, new, speeds.reference, speeds.candidates, speeds.workloads)
    return judge([*quality, *found])


def is_restless(*runs: LogRounds) -> bool:
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
    """Whether the gate detects that a candidate, or all if it is None, takes `factor` times as
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
        f"{run.throughput_CWR.shape[2]} rounds ({share:.0%} disturbed)"
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
