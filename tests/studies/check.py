"""Measures how often the run's self-check disputes a planted fault, and raises false alarms.

    python tests/studies/check.py [--limit 60] [--seeds 1000] [--only GLOB] [--out FOLDER]

Each fault is planted once in the harness, and the engine answers every pocket task with it. The
check then looks at all examples, which gives the exact result for every seed: whether one of the
examples that it draws is disputed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections import defaultdict
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import yaml  # noqa: E402
from fault_engines import Engines, Place, examine, pocket_place  # noqa: E402
from planted_faults import PLANTS, Plant  # noqa: E402

from melange.harness.check.answers import prompt_lengths  # noqa: E402
from melange.harness.check.sampling import choose  # noqa: E402
from melange.harness.runs.writer import RunFolder  # noqa: E402
from melange.harness.verdicts import Check, Verdict  # noqa: E402
from melange.tasks.registry import load_tasks  # noqa: E402

ENOUGH = 0.95


class Found(NamedTuple):
    """Results for one planted fault."""

    plant: Plant
    examples: int
    disputed: int
    worst: float
    """Largest difference (nats)."""
    share: float
    """Share of runs that would dispute a cell."""
    unchecked: str


def study(limit: int, num_seeds: int, number: int, only: str, out: Path) -> list[Found]:
    suite = yaml.safe_load((ROOT / "tasks" / "suites" / "jan2024.yaml").read_text())
    names = [name for name in load_tasks() if name.startswith("pocket_")]
    place = pocket_place(suite["candidates"], names, limit)
    engines = Engines(place)
    found = []
    for at, plant in enumerate(PLANTS):
        if not fnmatchcase(plant.label, only):
            continue
        folder = out / f"{at:02d}"
        shutil.rmtree(folder, ignore_errors=True)
        engines.answer(plant, at, folder)
        checks = examine(place, plant, folder, number=sys.maxsize)
        RunFolder(folder).append_checks(checks)
        found.append(_counted(place, plant, folder, checks, num_seeds, number))
        print(_line(found[-1]), flush=True)
    engines.close()
    return found


def _counted(
    place: Place, plant: Plant, folder: Path, checks: Sequence[Check], num_seeds: int, number: int
) -> Found:
    disputed = {
        (one.kind, one.task, one.example) for one in checks if one.verdict is Verdict.DISPUTED
    }
    lengths = _lengths(place, plant, folder)
    hits = sum(_would_dispute(lengths, disputed, seed, number) for seed in range(num_seeds))
    differences = [one.difference for one in checks if one.difference is not None]
    reasons = {one.reason for one in checks if one.verdict is Verdict.UNCHECKED}
    return Found(
        plant, len(checks), len(disputed), max(differences, default=0.0), hits / num_seeds,
        "; ".join(sorted(reasons)),
    )  # fmt: skip


def _lengths(place: Place, plant: Plant, folder: Path) -> dict[str, dict[str, dict[int, int]]]:
    found: dict[str, dict[str, dict[int, int]]] = defaultdict(dict)
    for name, (task, _) in place.tasks.items():
        kind = "likelihood" if task.likelihood else "generation"
        found[kind][name] = prompt_lengths(folder, plant.candidate, name)
    return found


def _would_dispute(
    lengths: dict[str, dict[str, dict[int, int]]], disputed: set[Any], seed: int, number: int
) -> bool:
    return any(
        (kind, *place) in disputed
        for kind, tasks in lengths.items()
        for place in choose(tasks, number, seed=f"{seed}/{kind}")
    )


def _line(one: Found) -> str:
    return (
        f"{one.plant.fault:26} {one.plant.variant[:38]:38} {one.plant.candidate:22} "
        f"{one.disputed:5} of {one.examples:5} examples, worst {one.worst:8.1e} nats, "
        f"{one.share:7.1%} of runs{'  unchecked: ' + one.unchecked if one.unchecked else ''}"
    )


def by_fault(found: Sequence[Found]) -> dict[str, float]:
    """The mean share over a fault's variants."""
    shares: dict[str, list[float]] = defaultdict(list)
    for one in found:
        shares[one.plant.fault].append(one.share)
    return {fault: sum(values) / len(values) for fault, values in shares.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--number", type=int, default=8)
    parser.add_argument("--only", default="*")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "check-study")
    asked = parser.parse_args()
    found = study(asked.limit, asked.seeds, asked.number, asked.only, asked.out)
    shares = by_fault(found)
    (asked.out / "study.json").write_text(json.dumps(shares, indent=1))
    print()
    for fault, share in shares.items():
        print(f"{fault:26} disputed in {share:7.2%} of runs")
    missed = [fault for fault, share in shares.items() if fault != "nothing" and share < ENOUGH]
    return 1 if missed or shares.get("nothing", 0.0) else 0


if __name__ == "__main__":
    sys.exit(main())
