"""How often intervals of open loops cover the truth, and which loads count as too much.

An M/D/1 queue has the arrivals of a real workload and an engine that serves one request after the
other. `python -m tests.studies.open_loops` prints the tables of docs/decisions/load-as-served.md.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from melange.harness.measure.open_loop import FALLS_BEHIND, METRICS, due_times, readings
from melange.harness.measure.summaries import OPEN_LOOP, Told, summarize
from melange.harness.requests import Streamed
from melange.harness.workloads import Workload

TRIALS = 400
REPETITIONS = 4
LOADS = (0.3, 0.5, 0.8, 0.95)
"""Shares of the queue's capacity."""
BEYOND = (0.7, 0.8, 0.9, 1.1, 1.2, 1.5)
SHARES = {"latency_sec": 0.5, "latency_sec_p90": 0.9, "latency_sec_p99": 0.99}


def workload(load: float, num_requests: int) -> Workload:
    """Of a queue that serves one request per second."""
    return Workload.model_validate(
        {"name": "queue", "prompt_tokens": 1, "output_tokens": 1, "num_requests": num_requests,
         "request_rate": load, "goodput": {"latency_sec": 2.0}}
    )  # fmt: skip


def queue(load: Workload, seed: int) -> list[Streamed]:
    free, found = 0.0, []
    for due in due_times(load, seed=seed):
        start = max(due, free)
        free = start + 1.0
        found.append(Streamed(due, start, (free,), 1))
    return found


def coverage(load: float) -> Iterator[tuple[str, float]]:
    """Metric -> share of trials whose 95 % interval holds the value over all of them."""
    asked = workload(load, 100)
    loops = [readings(asked, queue(asked, seed)) for seed in range(TRIALS * REPETITIONS)]
    latency = [value for one in loops for value in _numbers(one["latency_sec"])]
    truths = {name: float(np.quantile(latency, share)) for name, share in SHARES.items()}
    truths["attainment"] = float(np.mean([_numbers(one["attainment"]) for one in loops]))
    trials = [
        {one.metric: one for one in summarize(Told("c", "f"), METRICS, part, OPEN_LOOP)}
        for part in (loops[at : at + REPETITIONS] for at in range(0, len(loops), REPETITIONS))
    ]
    for name, truth in truths.items():
        bounds = [(one[name].ci_low, one[name].ci_high) for one in trials]
        known = [(low, high) for low, high in bounds if low is not None and high is not None]
        if known:
            # All requests of a light load take exactly one second.
            slack = 1e-9
            yield name, float(np.mean([a - slack <= truth <= b + slack for a, b in known]))


def fallen_behind(load: float, num_requests: int = 150) -> float:
    """Share of single repetitions whose queue grows by more than `FALLS_BEHIND`."""
    asked = workload(load, num_requests)
    found = [readings(asked, queue(asked, seed))["queue_growth"] for seed in range(TRIALS)]
    return float(np.mean([isinstance(one, float) and one > FALLS_BEHIND for one in found]))


def _numbers(reading: object) -> Sequence[float]:
    assert isinstance(reading, list)
    return reading


def main() -> None:
    for load in LOADS:
        found = ", ".join(f"{name} {share:.0%}" for name, share in coverage(load))
        print(f"{load:.0%} of capacity: intervals cover {found}")
    for load in BEYOND:
        print(f"{load:.0%} of capacity: falls behind in {fallen_behind(load):.0%} of repetitions")


if __name__ == "__main__":
    main()
