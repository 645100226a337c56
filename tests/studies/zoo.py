"""Measures how much trainings of one recipe differ: `make zoo-study [SEEDS="1 2"]`.

Trains the pocket zoo with each seed, evaluates every checkpoint of every zoo on all tasks of
jan2024, and prints by task how much the zoos differ from each other and from the shipped one. A
smaller effect may come from the training, not the method. docs/experiments.md has the figures.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from quality_runs import Apart, compare, measure  # noqa: E402

OUT = ROOT / "runs" / "zoo-study"
SUITE = "jan2024"


def main(seeds: list[str]) -> int:
    zoos = [f"pocket@{seed}" for seed in seeds] + ["pocket"]
    only = ["--only", "single"]
    runs = {zoo: measure(OUT / zoo, suite=SUITE, zoo=zoo, arguments=only) for zoo in zoos}
    pairs = list(combinations(zoos, 2))
    tables = [by_task(compare(runs[one], runs[other])) for one, other in pairs]
    print("| task | " + " | ".join(f"{one} and {other}" for one, other in pairs) + " |")
    print("| --- |" + " --- |" * len(pairs))
    for task in tables[0]:
        print(f"| {task} | " + " | ".join(said(table[task]) for table in tables) + " |")
    return 0


def by_task(cells: list[Apart]) -> dict[str, list[float]]:
    """Task -> differences of accuracy, one per checkpoint."""
    found: dict[str, list[float]] = defaultdict(list)
    for cell in cells:
        found[cell.task].append(abs(cell.accuracies[0] - cell.accuracies[1]))
    return found


def said(gaps: list[float]) -> str:
    return f"{100 * mean(gaps):.1f}, at most {100 * max(gaps):.1f} points"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
