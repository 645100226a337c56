"""Latencies; each reading has one value per request."""

from collections.abc import Iterator
from contextlib import contextmanager

from melange.harness.measure.metric import Collector, Metric, Watched

TOLERANCE = 1.1
"""Latencies of a round are fewer numbers than its tokens, and vary more than the throughput."""
TTFT = Metric(
    name="ttft_sec", unit="s", label="TTFT", group="latency", scope="workload",
    summary="percentiles", tracked=True, tolerance=TOLERANCE, judged_by="rounds",
    meaning="time to the first token, median",
)  # fmt: skip
TPOT = Metric(
    name="tpot_sec", unit="s", label="TPOT", group="latency", scope="workload",
    summary="percentiles", tolerance=TOLERANCE, judged_by="rounds",
    meaning="time per token after the first",
)  # fmt: skip
LATENCY = Metric(
    name="latency_sec", unit="s", label="Latency", group="latency", scope="workload",
    summary="percentiles", headline=True, bound="Latency", tolerance=TOLERANCE,
    judged_by="rounds",
    meaning="a request from end to end, median",
)  # fmt: skip


@contextmanager
def watch(watched: Watched) -> Iterator[None]:
    yield
    (done,) = watched.rounds
    watched.readings |= {
        TTFT.name: tuple(one.first_token_sec for one in done.timings),
        LATENCY.name: tuple(one.last_token_sec for one in done.timings),
        # Of requests with more than one token.
        TPOT.name: tuple(
            (one.last_token_sec - one.first_token_sec) / (length - 1)
            for one, length in zip(done.timings, done.output_lengths, strict=True)
            if length > 1
        ),
    }


COLLECTOR = Collector(metrics=(TTFT, TPOT, LATENCY), watch=watch)
