"""Requests that arrive at a rate, and what a user of the engine sees of them.

Definitions are those of `vllm bench serve` (vllm/benchmarks/serve.py: `get_request`,
`calculate_metrics`), with three differences: latency counts from when a request was due, so that a
late start is part of it; the first and the last requests are left out; and the engine is asked in
its own process, so that HTTP is not part of it.
"""

import random
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from typing import NamedTuple

from melange.harness.contracts import StreamingSession
from melange.harness.measure.latency import LATENCY, TPOT, TTFT
from melange.harness.measure.metric import Metric
from melange.harness.measure.speed import Reading, fresh_requests
from melange.harness.measure.throughput import REQUESTS
from melange.harness.requests import Streamed
from melange.harness.workloads import Goodput, Workload

FEW_TIMES = "an open loop is measured a few times only: compare its intervals"
ITL = Metric(
    name="itl_sec", unit="s", label="ITL", group="latency", scope="workload",
    summary="percentiles", ungated=FEW_TIMES,
    meaning="gap between consecutive tokens of a request, median",
)  # fmt: skip
GOODPUT = Metric(
    name="request_goodput", unit="requests/s", label="Goodput", group="latency",
    scope="workload", summary="mean", higher_is_better=True, ungated=FEW_TIMES,
    meaning="requests per second that meet every limit of the objective",
)  # fmt: skip
ATTAINMENT = Metric(
    name="attainment", unit="fraction", label="Attainment", group="latency", scope="workload",
    summary="share", higher_is_better=True, ungated=FEW_TIMES,
    meaning="share of requests that meet the objective",
)  # fmt: skip
QUEUE_GROWTH = Metric(
    name="queue_growth", unit="ratio", label="Queue growth", group="latency", scope="workload",
    summary="mean", ungated=FEW_TIMES,
    meaning="requests by which the queue grows for each that arrives",
)  # fmt: skip
METRICS = (TTFT, TPOT, ITL, LATENCY, REQUESTS, GOODPUT, ATTAINMENT, QUEUE_GROWTH)
FALLS_BEHIND = 0.1
"""Queue growth above which an engine does not keep up. An M/D/1 queue at 90 % of its capacity grows
by more in 7 % of repetitions of 150 requests, at 120 % in 82 %."""


class OpenLoop(NamedTuple):
    """One repetition."""

    started: str
    """ISO 8601, in UTC."""
    requests: Sequence[Streamed]


def due_times(workload: Workload, *, seed: int) -> list[float]:
    """Seconds after the start at which each request arrives, ascending.

    Times between arrivals are gamma distributed with shape `burstiness`, and scaled so that the
    last request arrives after `num_requests / request_rate`, as in vLLM: otherwise the rate itself
    would differ between seeds.
    """
    rate = workload.request_rate
    assert rate is not None, workload.name
    rng = random.Random(seed)
    shape = workload.burstiness
    regular = shape == float("inf")
    gaps = [1.0 if regular else rng.gammavariate(shape, 1 / shape)
            for _ in range(workload.num_requests)]  # fmt: skip
    scale = workload.num_requests / rate / sum(gaps)
    return [scale * total for total in accumulate(gaps)]


def drive(session: StreamingSession, workload: Workload, *, seed: int) -> OpenLoop:
    """Send requests when they are due, and wait for the last answer."""
    generations = fresh_requests(session, workload, seed=seed)
    started = datetime.now(UTC).isoformat(timespec="milliseconds")
    return OpenLoop(started, session.serve(generations, due_times(workload, seed=seed)))


def readings(workload: Workload, requests: Sequence[Streamed]) -> dict[str, Reading]:
    """Of the requests between warm-up and cool-down, by metric; times have one value per request,
    the gaps between tokens one per gap."""
    chosen = [requests[at] for at in workload.measured]
    found: dict[str, Reading] = {
        TTFT.name: [one.ttft_sec for one in chosen],
        LATENCY.name: [one.latency_sec for one in chosen],
        TPOT.name: [tpot for one in chosen if (tpot := tpot_sec(one)) is not None],
        ITL.name: [b - a for one in chosen for a, b in pairwise(one.piece_sec)],
    }
    too_short = unsettled(workload, requests)
    found[REQUESTS.name] = too_short or _finished_in(_window(workload, requests), requests)
    found[QUEUE_GROWTH.name] = too_short or queue_growth(workload, requests)
    if workload.goodput is not None:
        met = [float(meets(one, workload.goodput)) for one in chosen]
        start, stop = _window(workload, requests)
        found |= {GOODPUT.name: sum(met) / (stop - start), ATTAINMENT.name: met}
    return found


def tpot_sec(one: Streamed) -> float | None:
    """None for an output of one token."""
    if one.num_tokens < 2:
        return None
    return (one.latency_sec - one.ttft_sec) / (one.num_tokens - 1)


def meets(one: Streamed, objective: Goodput) -> bool:
    """Whether the request meets every limit; as in vLLM, one token takes no time per token."""
    values = {
        TTFT.name: one.ttft_sec,
        TPOT.name: tpot_sec(one) or 0.0,
        LATENCY.name: one.latency_sec,
    }
    return all(values[name] <= limit for name, limit in objective.limits.items())


def unsettled(workload: Workload, requests: Sequence[Streamed]) -> str:
    """Why the repetition is too short to see whether the engine keeps up; empty if it is not.

    While the first requests are being served, the queue grows at any rate. By the middle third of
    the measured ones, most requests of the warm-up must have been answered.
    """
    measured = workload.measured
    filled_sec = requests[measured.start + len(measured) // 3].due_sec
    first = requests[: max(1, measured.start)]
    latency_sec = statistics.median(one.latency_sec for one in first)
    if latency_sec <= filled_sec:
        return ""
    return (
        f"{workload.num_requests} requests are too few at this rate: one takes "
        f"{latency_sec:.2g} s, and they arrive in {requests[-1].due_sec:.2g} s"
    )


def queue_growth(workload: Workload, requests: Sequence[Streamed]) -> float:
    """Requests that are not answered yet, as an arriving one finds them: their mean in the last
    third of the measured ones minus that in the middle third, per arrival in between."""
    third = len(workload.measured) // 3
    if not third:
        return 0.0
    ends = sorted(one.due_sec + one.latency_sec for one in requests)
    found = [at - _num_until(requests[at].due_sec, ends) for at in workload.measured]
    return (sum(found[-third:]) - sum(found[-2 * third : -third])) / third**2


def _num_until(moment: float, ascending: Sequence[float]) -> int:
    return sum(one <= moment for one in ascending)


def _window(workload: Workload, requests: Sequence[Streamed]) -> tuple[float, float]:
    """From the first measured request's arrival to that of the first after the measured ones."""
    measured = workload.measured
    last = min(measured.stop, len(requests) - 1)
    return requests[measured.start].due_sec, requests[last].due_sec


def _finished_in(window: tuple[float, float], requests: Sequence[Streamed]) -> float:
    """Requests per second that were finished in the window."""
    start, stop = window
    ends = (one.due_sec + one.latency_sec for one in requests)
    return sum(start <= end < stop for end in ends) / (stop - start)
