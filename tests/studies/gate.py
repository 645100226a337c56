"""Measures how often the gate raises false alarms, and how often it detects regressions.

    make gate-study RUNS="a b c d"     runs that differ in noise only: a with b, c with d
    make gate-study RUNS=runs/aa       the same, with all runs of a folder (`make aa-runs`)

False alarms are counted over the real pairs as they are. What the gate detects is counted over
comparisons that are resampled from them, judged by the gate's own code. docs/gate.md has the
figures.

resampled_runs.py describes the resampling, planted_changes.py what is planted.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from melange.harness.stats import wilson_interval  # noqa: E402
from melange.reports.analysis.comparison import Kind  # noqa: E402
from melange.reports.analysis.comparison.changes import TIMED, Change  # noqa: E402
from melange.reports.analysis.comparison.judging import POWER, smallest_slowdown  # noqa: E402
from melange.reports.analysis.comparison.speed import is_restless  # noqa: E402
from melange.reports.analysis.comparison.timings import SPEED  # noqa: E402
from melange.reports.analysis.run import load_run  # noqa: E402
from studies.planted_changes import cases, judged_all, regressions, slow_down  # noqa: E402
from studies.real_pairs import RealPair, load_pair, run_folders, size  # noqa: E402
from studies.resampled_runs import Draw, Generator, draw_pair  # noqa: E402

PAGE = ROOT / "docs" / "gate.md"
BEGIN, END = "<!-- gate-study -->", "<!-- /gate-study -->"
STATED = {Kind.SPEED: "one candidate takes", Kind.ENGINE: "all candidates take"}


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


def study(pairs: Sequence[RealPair], comparisons: int, flips: float, seed: int) -> list[Count]:
    """How often each planted change is caught in drawn comparisons."""
    rng = np.random.default_rng(seed)
    quiet = Count("nothing: quiet enough to judge speeds", "")
    alarms = Count("nothing: a false alarm", "at most 5 %")
    planted = [(case, Count(case.what, case.bar)) for case in cases(pairs)]
    stated = {kind: Count(f"{who} as much longer as the gate says it sees", f"about {POWER:.0%}")
              for kind, who in STATED.items()}  # fmt: skip
    for _ in range(comparisons):
        draw = draw_pair(pairs, flips, rng)
        quiet.add(not (is_restless(draw.old) or is_restless(draw.new)))
        alarms.add(bool(regressions(draw)))
        for case, count in planted:
            count.add(case.caught(draw, rng, flips))
        changes = judged_all(draw)
        for kind, count in stated.items():
            if (amount := smallest_slowdown(changes, kind)) is not None:
                count.add(_sees(draw, kind, 1 + amount, rng))
    counts = [quiet, alarms, *(count for _, count in planted), *stated.values()]
    return [one for one in counts if one.of]


def _sees(draw: Draw, kind: Kind, factor: float, rng: Generator) -> bool:
    return slow_down(factor, 0.0 if kind is Kind.SPEED else None)(draw, rng, 0.0)


# --- the real pairs


def exact_interval(caught: int, of: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share: exact for few pairs."""
    from scipy.stats import binomtest

    low, high = binomtest(caught, of).proportion_ci(method="exact")
    return float(low), float(high)


def real_table(pairs: Sequence[RealPair]) -> str:
    """False alarms among pairs of runs in which nothing had changed."""
    compared = [one.comparison for one in pairs]
    alarms = sum(bool(one.regressions) for one in compared)
    low, high = exact_interval(alarms, len(pairs))
    said = (
        f"{alarms} of {len(pairs)} real pairs raised a false alarm: {alarms / len(pairs):.0%}, "
        f"95 % interval {low:.1%} to {high:.1%}."
    )
    lines = [
        said,
        "",
        "| Baseline | Run | Compared | Speeds | Rounds (disturbed) | Noise | Named as worse |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_real_row(one) for one in pairs),
    ]
    return "\n".join(lines)


def _real_row(pair: RealPair) -> str:
    comparison = pair.comparison
    rounds = ", ".join(
        f"{number} ({share:.0%})"
        for number, share in zip(pair.num_rounds, pair.disturbed, strict=True)
    )
    judged = any(one.p_value is not None for one in comparison.of(*TIMED))
    called = "; ".join(_called(one) for one in comparison.regressions) or "nothing"
    columns = [
        comparison.old.folder.name,
        comparison.new.folder.name,
        str(comparison.num_judged),
        "judged" if judged else "restless",
        rounds,
        f"{pair.noise[SPEED.name].own:.1%}",
        called,
    ]
    return f"| {' | '.join(columns)} |"


def _called(change: Change) -> str:
    return f"{change.kind}: {change.title} ({change.value:.3f})"


def table(pairs: Sequence[RealPair], counts: Sequence[Count], flips: float) -> str:
    cells = [cell for pair in pairs for cell in pair.cells]
    moved = sum(int((cell.pairs.old_N != cell.pairs.new_N).sum()) for cell in cells)
    answers = sum(len(cell.pairs.old_N) for cell in cells)
    noise = f", and {flips:.0%} of all answers right in one run only, by a coin" if flips else ""
    own = size([pair.noise[SPEED.name].own for pair in pairs])
    axes = pairs[0].axes
    about = (
        f"Drawn from {len(pairs)} pairs{noise}: {len(cells)} cells, {answers:,} pairs of answers, "
        f"{moved:,} of which differ between the real runs; {len(axes.units)} candidates on "
        f"{len(axes.workloads)} workloads, with a noise of {own:.1%} between two runs."
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
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs, or of their folders")
    parser.add_argument("--comparisons", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dry", action="store_true", help="print, and leave docs/gate.md alone")
    options = parser.parse_args()
    folders = run_folders(options.runs)
    if len(folders) < 2 or len(folders) % 2:
        parser.error(f"{len(folders)} runs are no pairs; name an even number of them")
    runs = [load_run(folder) for folder in folders]
    pairs = [load_pair(*both) for both in zip(runs[::2], runs[1::2], strict=True)]
    parts = [real_table(pairs)]
    print(parts[-1], flush=True)
    for flips in (0.0, 0.01):
        counts = study(pairs, options.comparisons, flips, options.seed)
        parts.append(table(pairs, counts, flips))
        print(parts[-1], flush=True)
    if not options.dry:
        write("\n\n".join(parts))


if __name__ == "__main__":
    main()
