"""Tokens and requests per second."""

from collections.abc import Iterator
from contextlib import contextmanager

from melange.harness.measure.metric import Collector, Metric, Watched
from melange.harness.measure.speed import Reading, Round

TOLERANCE = 1.03
"""A slow-down of up to this share of the time does not matter."""
PART_TOLERANCE = 1.1
"""The same for a part of the work, which is timed for a shorter while."""
PREFILL = Metric(
    name="prefill_tokens_per_sec", unit="tokens/s", label="Prefill", group="speed",
    scope="workload", summary="typical", higher_is_better=True, tracked=True,
    tolerance=PART_TOLERANCE, judged_by="rounds", meaning="prompt tokens read per second",
)  # fmt: skip
DECODE = Metric(
    name="decode_tokens_per_sec", unit="tokens/s", label="Decode", group="speed",
    scope="workload", summary="typical", higher_is_better=True, headline=True, tracked=True,
    bound="Decoding speed", axis="Accuracy against decoding speed",
    tolerance=PART_TOLERANCE, judged_by="rounds",
    meaning="tokens generated per second",
)  # fmt: skip
TOTAL = Metric(
    name="total_tokens_per_sec", unit="tokens/s", label="Total", group="speed",
    scope="workload", summary="typical", higher_is_better=True, tracked=True,
    tolerance=TOLERANCE, judged_by="rounds", meaning="prompt and generated tokens per second",
)  # fmt: skip
REQUESTS = Metric(
    name="request_throughput", unit="requests/s", label="Requests", group="speed",
    scope="workload", summary="typical", higher_is_better=True,
    meaning="requests finished per second",
    ungated="a round has a fixed number of requests and tokens: total tokens per second say it",
)  # fmt: skip
RELATIVE = Metric(
    name="relative_throughput", unit="ratio", label="Relative throughput", group="speed",
    scope="workload", summary="ratio", higher_is_better=True, tracked=True, known_within=1.1,
    meaning="ratio to the reference candidate, timed just before and after",
    ungated="it moves if the reference does: each candidate's own speed is judged",
)  # fmt: skip

KNOWN_AT_ONCE = "no token is known before the last of its parts has answered: see Total"


@contextmanager
def watch(watched: Watched) -> Iterator[None]:
    yield
    (done,) = watched.rounds
    first = max(timing.first_token_sec for timing in done.timings)
    # Until the last request has its first token.
    watched.readings[PREFILL.name] = done.prompt_tokens / first
    watched.readings[TOTAL.name] = (done.prompt_tokens + done.output_tokens) / done.wall_sec
    watched.readings[REQUESTS.name] = len(done.timings) / done.wall_sec
    if (decoding := decode_tokens_per_sec(done)) is not None:
        watched.readings[DECODE.name] = decoding


def decode_tokens_per_sec(done: Round) -> Reading | None:
    """Tokens after each request's first over the time in which they came; None without any."""
    after_first = done.output_tokens - len(done.timings)
    start = min(timing.first_token_sec for timing in done.timings)
    span = max(timing.last_token_sec for timing in done.timings) - start
    if not after_first:
        return None
    return after_first / span if span > 0 else KNOWN_AT_ONCE


COLLECTOR = Collector(metrics=(PREFILL, DECODE, TOTAL, REQUESTS, RELATIVE), watch=watch)
"""RELATIVE needs the reference's rounds: harness/costs.py adds it."""
