"""Measures ratios of times of sides that take turns, prints and stores them."""

import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from melange.harness.records import Record
from melange.harness.runs.environment import git_revision, hardware, versions
from melange.harness.stats import mean_interval, ratio_interval

Side = Callable[[], float]
"""Does its work once and returns the seconds that count."""


class Ratio(Record):
    """One line of the output."""

    name: str
    value: float
    low: float | None
    high: float | None
    num_pairs: int
    bar: float | None = None
    """The project's target for `value`: at least this, or at most if `at_most`."""
    at_most: bool = False
    note: str = ""
    sides: dict[str, list[float]]
    """Side -> its seconds, one number per pair."""

    @property
    def verdict(self) -> str:
        if self.bar is None:
            return ""
        met = self.value <= self.bar if self.at_most else self.value >= self.bar
        sign = "<=" if self.at_most else ">="
        return f"{'meets' if met else 'MISSES'} {sign} {self.bar:g}"

    def line(self) -> str:
        ends = "" if self.low is None else f" [{self.low:.3g}, {self.high:.3g}]"
        told = (self.verdict, f"n={self.num_pairs}", self.note)
        return f"{self.name} {self.value:.3g}{ends}  {'; '.join(part for part in told if part)}"


def timed(run: Callable[[], object], before: Callable[[], object] = lambda: None) -> Side:
    """A side of which `run` is timed; `before` prepares it and is not timed."""

    def side() -> float:
        before()
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return side


def interleave(
    sides: Mapping[str, Side], *, rounds: int, warm_up: bool = True
) -> dict[str, list[float]]:
    """Seconds of each side in each round. Every other round goes backward.

    So a drift of the machine affects all sides alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    if warm_up:
        for side in sides.values():
            side()
    for number in range(rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            seconds[name].append(sides[name]())
    return seconds


def times_faster(
    name: str,
    sides: Mapping[str, Sequence[float]],
    *,
    bar: float | None = None,
    note: str = "",
) -> Ratio:
    """How many times as fast the first of two sides is as the second."""
    (mine, other) = sides.values()
    value, low, high = ratio_interval(list(zip(other, mine, strict=True)))
    return Ratio(
        name=name,
        value=value,
        low=low,
        high=high,
        num_pairs=len(mine),
        bar=bar,
        note=note,
        sides={what: list(seconds) for what, seconds in sides.items()},
    )


def share_outside(
    name: str, sides: Mapping[str, Sequence[float]], *, bar: float | None = None, note: str = ""
) -> Ratio:
    """The share of the second side's time that is not the first's."""
    (inside, whole) = sides.values()
    shares = [1 - one / all_of_it for one, all_of_it in zip(inside, whole, strict=True)]
    low, high = mean_interval(shares)
    return Ratio(
        name=name,
        value=sum(shares) / len(shares),
        low=low,
        high=high,
        num_pairs=len(shares),
        bar=bar,
        at_most=True,
        note=note,
        sides={what: list(seconds) for what, seconds in sides.items()},
    )


def write_json(file: Path, ratios: Sequence[Ratio]) -> None:
    content = {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "pytest", *sys.argv[1:]]),
        "git_revision": git_revision(),
        "versions": versions(),
        "hardware": hardware(),
        "threads": _threads(),
        "ratios": [one.model_dump(mode="json") | {"verdict": one.verdict} for one in ratios],
    }
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _threads() -> int | None:
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())
