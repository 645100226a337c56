"""Throughput and latency of a session under a synthetic load."""

import random
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from melange.harness.contracts import TimedSession
from melange.harness.metrics import BY_NAME
from melange.harness.records import Measurement, Workload
from melange.harness.requests import Generation, Timing
from melange.harness.stats import mean_interval, quantile, ratio_interval

FIRST_ORDINARY_TOKEN = 5
"""Ids below are special tokens in most vocabularies."""


class Round(NamedTuple):
    """One run of a workload: token counts, seconds, and each request's timing."""

    started: str
    """ISO 8601, in UTC."""
    prompt_tokens: int
    output_tokens: int
    wall_sec: float
    timings: Sequence[Timing]
    output_lengths: Sequence[int]
    energy_joules: float | None = None
    """Of the whole device, idle draw included; None where nothing tells."""

    @property
    def prefill_tokens_per_sec(self) -> float:
        """Prompt tokens over the time until the last request has its first token."""
        return self.prompt_tokens / max(timing.first_token_sec for timing in self.timings)

    @property
    def decode_tokens_per_sec(self) -> float | None:
        """Tokens after each request's first, over the time in which they came."""
        after_first = self.output_tokens - len(self.timings)
        start = min(timing.first_token_sec for timing in self.timings)
        span = max(timing.last_token_sec for timing in self.timings) - start
        return after_first / span if after_first and span > 0 else None

    @property
    def total_tokens_per_sec(self) -> float:
        return (self.prompt_tokens + self.output_tokens) / self.wall_sec

    @property
    def request_throughput(self) -> float:
        """Requests per second."""
        return len(self.timings) / self.wall_sec

    @property
    def joules_per_token(self) -> float | None:
        """The round's energy by output token: what reading the prompts took is in it."""
        return None if self.energy_joules is None else self.energy_joules / self.output_tokens

    @property
    def ttft_sec(self) -> tuple[float, ...]:
        """Until each request's first token."""
        return tuple(timing.first_token_sec for timing in self.timings)

    @property
    def latency_sec(self) -> tuple[float, ...]:
        """Until each request's last token."""
        return tuple(timing.last_token_sec for timing in self.timings)

    @property
    def tpot_sec(self) -> tuple[float, ...]:
        """Seconds per output token after the first, of each request with more than one."""
        return tuple(
            (timing.last_token_sec - timing.first_token_sec) / (length - 1)
            for timing, length in zip(self.timings, self.output_lengths, strict=True)
            if length > 1
        )


def requests_of(workload: Workload, *, vocabulary: int, seed: int) -> list[Generation]:
    """Prompts of random tokens; outputs have the asked length whatever the model says.

    The seed decides the tokens. Mixed lengths are the same for every seed, so that rounds differ in
    noise alone.
    """
    rng, lengths = random.Random(seed), random.Random(workload.name)
    generations = []
    for _ in range(workload.num_requests):
        prompt, output = workload.prompt_tokens, workload.output_tokens
        if workload.mixed:
            prompt, output = lengths.randint(1, prompt), lengths.randint(1, output)
        tokens = tuple(rng.randrange(FIRST_ORDINARY_TOKEN, vocabulary) for _ in range(prompt))
        generations.append(Generation(tokens, output, ignore_eos=True))
    return generations


def time_workload(session: TimedSession, generations: Sequence[Generation]) -> Round:
    """Send all requests at once and wait for the last."""
    started = datetime.now(UTC).isoformat(timespec="milliseconds")
    start = session.clock()
    completions = session.generate(generations)
    wall_sec = session.clock() - start
    lengths = [len(completion.token_ids) for completion in completions]
    return Round(
        started=started,
        prompt_tokens=sum(len(generation.prompt) for generation in generations),
        output_tokens=sum(lengths),
        wall_sec=wall_sec,
        timings=[one.timing or Timing(wall_sec, wall_sec) for one in completions],
        output_lengths=lengths,
    )


def summarize(
    candidate: str, family: str, workload: str, rounds: Sequence[Round], reference: Sequence[Round]
) -> list[Measurement]:
    """Means over the rounds with 95 % intervals, percentiles over their requests, and the ratio
    to the reference.

    The reference ran in the same rounds, so a drift of the machine cancels in the ratio.
    """
    series: Mapping[str, list[float | None]] = {
        "prefill_tokens_per_sec": [r.prefill_tokens_per_sec for r in rounds],
        "decode_tokens_per_sec": [r.decode_tokens_per_sec for r in rounds],
        "total_tokens_per_sec": [r.total_tokens_per_sec for r in rounds],
        "request_throughput": [r.request_throughput for r in rounds],
        "joules_per_token": [r.joules_per_token for r in rounds],
    }
    records = []
    for metric, values in series.items():
        known = [value for value in values if value is not None]
        if known:
            low, high = mean_interval(known)
            records.append(
                Measurement(
                    candidate=candidate,
                    family=family,
                    workload=workload,
                    metric=metric,
                    value=statistics.fmean(known),
                    unit=BY_NAME[metric].unit,
                    n=len(known),
                    ci_low=None if low is None else max(0.0, low),  # of few rounds, it is wide
                    ci_high=high,
                    higher_is_better=BY_NAME[metric].higher_is_better,
                )
            )
    records += _latencies(candidate, family, workload, rounds)
    if reference:
        records.append(_relative(candidate, family, workload, rounds, reference))
    return records


def _latencies(
    candidate: str, family: str, workload: str, rounds: Sequence[Round]
) -> list[Measurement]:
    """p50, p90 and p99 over all requests of all rounds.

    Without intervals: requests that are served together are not independent of each other, and
    there are too few rounds to draw from.
    """
    series = {
        "ttft_sec": sorted(seconds for one in rounds for seconds in one.ttft_sec),
        "tpot_sec": sorted(seconds for one in rounds for seconds in one.tpot_sec),
        "latency_sec": sorted(seconds for one in rounds for seconds in one.latency_sec),
    }
    return [
        Measurement(
            candidate=candidate,
            family=family,
            workload=workload,
            metric=f"{name}{suffix}",
            value=quantile(values, share),
            unit="s",
            n=len(values),
            higher_is_better=False,
        )
        for name, values in series.items()
        if values
        for suffix, share in (("", 0.5), ("_p90", 0.9), ("_p99", 0.99))
    ]


def _relative(
    candidate: str, family: str, workload: str, rounds: Sequence[Round], reference: Sequence[Round]
) -> Measurement:
    pairs = [
        (mine.total_tokens_per_sec, theirs.total_tokens_per_sec)
        for mine, theirs in zip(rounds, reference, strict=True)
    ]
    value, low, high = ratio_interval(pairs)
    return Measurement(
        candidate=candidate,
        family=family,
        workload=workload,
        metric="relative_throughput",
        value=value,
        unit="ratio",
        n=len(pairs),
        ci_low=low,
        ci_high=high,
        higher_is_better=True,
    )
