"""Percentiles of latencies, with the requests and rounds behind them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from melange.harness.measure.tails import batch_refusal, needed
from melange.harness.runs.layout import ROUNDS
from melange.harness.runs.reader import read_rounds
from melange.reports.analysis.run import Reading, Run

SHARES = {"": 0.5, "p90": 0.9, "p99": 0.99}
UNCLAIMED = "unclaimed"
"""A reading's outcome: too few independent requests for the percentile."""
Times = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Tails:
    run: Run

    def read(self, candidate: str, metric: str, tail: str, workload: str) -> Reading:
        """A percentile, or why it cannot be claimed. `tail`: a key of `SHARES`."""
        name = f"{metric}_{tail}" if tail else metric
        found = self.run.read(candidate, name, workload=workload)
        median = self.run.read(candidate, metric, workload=workload)
        if median.value is None:
            return median
        refusal = self._refusal(candidate, metric, SHARES[tail], workload)
        if not refusal:
            return found
        return replace(found, value=None, outcome=UNCLAIMED, reason=refusal)

    def count(self, candidate: str, workload: str) -> str:
        """`16 × 3 rounds`: requests of a round, and rounds; for open loops, repetitions."""
        load = self.run.workloads.get(workload)
        rounds = self._times.get((candidate, "latency_sec", workload))
        if rounds:
            return f"{len(rounds[0])} × {len(rounds)} round{'s' if len(rounds) > 1 else ''}"
        n = self.run.read(candidate, "latency_sec", workload=workload).n
        if n and load is not None and load.request_rate:
            return f"{len(load.measured)} × {n // len(load.measured)} repetitions"
        return f"{n}" if n else ""

    def _refusal(self, candidate: str, metric: str, share: float, workload: str) -> str:
        if share <= 0.5:
            return ""
        load = self.run.workloads.get(workload)
        if load is not None and load.request_rate is not None:
            n = self.run.read(candidate, metric, workload=workload).n or 0
            return "" if n >= needed(share) else _too_few(n, share)
        if times := self._times.get((candidate, metric, workload)):
            return batch_refusal(share, times)
        # Runs that kept no rounds: how many requests took different times is unknown.
        n = load.num_requests if load is not None else 0
        return _too_few(n, share) if 0 < n < needed(share) else ""

    @cached_property
    def _times(self) -> dict[tuple[str, str, str], list[Sequence[float]]]:
        found: dict[tuple[str, str, str], list[Sequence[float]]] = {}
        for line in read_rounds(self.run.folder / ROUNDS):
            for metric in ("ttft_sec", "tpot_sec", "latency_sec"):
                if times := getattr(line, metric):
                    found.setdefault((line.candidate, metric, line.workload), []).append(times)
        return found


def _too_few(n: int, share: float) -> str:
    return f"{n} requests are too few for a p{share * 100:.0f}: it needs {needed(share)}"
