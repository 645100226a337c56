"""How well a run knows its speeds, and whether candidates of equal kernels are equally fast.

make speed-study RUN=runs/jan2024      a run's relative throughputs: how many are known to 10 %
make speed-study APART=runs/apart      times every candidate apart, also those of equal kernels,
                                       and compares these with each other
"""

import argparse
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from melange.cli import main as melange  # noqa: E402
from melange.harness.measure.throughput import RELATIVE  # noqa: E402
from melange.harness.prepare import Prepared  # noqa: E402
from melange.harness.runs.reader import read_run  # noqa: E402

APART_WITHIN = 0.03
"""Candidates of equal kernels should differ by no more from the middle of them."""
OVERRIDES = {"tasks": {}, "rounds": 40, "target_ratio_error": 0.03, "speed_budget_sec": 1800}
"""Of the suite, where every candidate is timed apart."""


class Known(NamedTuple):
    """A relative throughput of a run."""

    unit: str
    workload: str
    value: float
    factor: float
    """The 95 % interval lies within it; infinite if there is none."""
    num_rounds: int


def known(run: Path) -> list[Known]:
    """One for each unit and workload."""
    stored = read_run(run)
    units = stored.manifest.measured_as
    return [
        Known(one.candidate, one.workload, one.value, _factor(one.ci_low, one.ci_high), one.n or 0)
        for one in stored.measurements
        if one.metric == RELATIVE.name
        and one.value is not None
        and one.workload is not None
        and units.get(one.candidate, one.candidate) == one.candidate
    ]


def _factor(low: float | None, high: float | None) -> float:
    return math.sqrt(high / low) if low and high else math.inf


def report_known(run: Path) -> bool:
    """Print each workload's figures; whether all are known or shown as not known, by definition."""
    found = known(run)
    timing = read_run(run).manifest.timings.get("speed_sec", math.nan)
    print(f"{run}: {len({one.unit for one in found})} units, timed in {timing:.0f} s with starts")
    for workload in dict.fromkeys(one.workload for one in found):
        here = [one for one in found if one.workload == workload]
        assert RELATIVE.known_within is not None
        shown = [one for one in here if one.factor <= RELATIVE.known_within]
        typical = statistics.median(one.factor for one in here) - 1
        rounds = [one.num_rounds for one in here]
        print(
            f"  {workload:8} {len(shown)} of {len(here)} known to 10 %, median ±{typical:.1%}, "
            f"{min(rounds)} to {max(rounds)} rounds"
        )
        for one in here:
            if one not in shown:
                print(f"    not known yet: {one.unit}, {one.value:.2f} within {one.factor:.2f}")
    return bool(found)


def time_apart(out: Path, suite: str, arguments: Sequence[str]) -> dict[str, int]:
    """Run the suite's workloads, each candidate on its own. Returns the group of equal kernels that
    each belongs to."""
    kernels = Prepared.kernels.fget  # type: ignore[attr-defined]
    groups: dict[str, int] = {}

    def own(prepared: Prepared) -> str:
        groups[prepared.candidate.name] = hash(kernels(prepared))
        return prepared.candidate.name

    Prepared.kernels = property(own)  # type: ignore[assignment, method-assign]
    out.mkdir(parents=True, exist_ok=True)
    content = yaml.safe_load((ROOT / "tasks" / "suites" / f"{suite}.yaml").read_text())
    file = out / f"{suite}.yaml"
    file.write_text(yaml.safe_dump(content | OVERRIDES))
    code = melange(["--suite", str(file), "--out", str(out), "--no-check", *arguments], "melange")
    if code:
        raise SystemExit(code)
    return groups


def report_apart(run: Path, groups: dict[str, int]) -> bool:
    """Print how far members of a group lie apart; whether all are within the bar."""
    members: dict[tuple[int, str], dict[str, float]] = defaultdict(dict)
    for one in known(run):
        members[groups[one.unit], one.workload][one.unit] = one.value
    widest = 0.0
    for (_, workload), values in members.items():
        if len(values) < 2:
            continue
        off = dict(_off(values))
        worst = max(off, key=lambda name: abs(off[name]))
        widest = max(widest, abs(off[worst]))
        print(
            f"  {workload:8} {len(values)} candidates of {next(iter(values))}'s kernels: "
            f"standard deviation {statistics.pstdev(off.values()):.1%}, "
            f"farthest {worst} {off[worst]:+.1%}"
        )
    print(f"farthest of all: {widest:.1%} (bar: {APART_WITHIN:.0%})")
    return widest <= APART_WITHIN


def _off(values: dict[str, float]) -> Iterator[tuple[str, float]]:
    middle = statistics.median(values.values())
    for name, value in values.items():
        yield name, math.log(value / middle)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    parser.add_argument("--apart", type=Path, metavar="OUT", help="time every candidate apart")
    parser.add_argument("--suite", default="jan2024")
    options, more = parser.parse_known_args()
    held = [report_known(run) for run in options.runs]
    if options.apart:
        groups = time_apart(options.apart, options.suite, more)
        report_known(options.apart)
        held.append(report_apart(options.apart, groups))
    return 0 if held and all(held) else 1


if __name__ == "__main__":
    raise SystemExit(main())
