"""A session under a synthetic load."""

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from melange.harness.contracts import TimedSession
from melange.harness.records import Workload
from melange.harness.requests import Generation, Timing

FIRST_ORDINARY_TOKEN = 5
"""Ids below are special tokens in most vocabularies."""

Reading = float | Sequence[float] | str
"""A number, a number per request, or the reason why there is none."""


class Round(NamedTuple):
    """One run of a workload: token counts, seconds, and each request's timing."""

    started: str
    """ISO 8601, in UTC."""
    prompt_tokens: int
    output_tokens: int
    wall_sec: float
    timings: Sequence[Timing]
    output_lengths: Sequence[int]
    readings: Mapping[str, Reading] = {}
    """What collectors read beside it, by metric."""


def requests_of(workload: Workload, *, vocabulary: int, seed: int) -> list[Generation]:
    """Prompts of random tokens; outputs have the given length whatever the model generates.

    The seed determines the tokens. Mixed lengths are the same for every seed, so that rounds
    differ only by noise.
    """
    rng = random.Random(seed)
    generations = []
    for prompt, output in lengths_of(workload):
        tokens = tuple(rng.randrange(FIRST_ORDINARY_TOKEN, vocabulary) for _ in range(prompt))
        generations.append(Generation(tokens, output, ignore_eos=True))
    return generations


def lengths_of(workload: Workload) -> list[tuple[int, int]]:
    """Prompt and output tokens of each request."""
    most = (workload.prompt_tokens, workload.output_tokens)
    if not workload.mixed:
        return [most] * workload.num_requests
    rng = random.Random(workload.series)
    return [(rng.randint(1, most[0]), rng.randint(1, most[1]))
            for _ in range(workload.num_requests)]  # fmt: skip


def tokens_in_flight(workload: Workload) -> int:
    """Tokens whose keys and values an engine holds at most: those of all requests at their end."""
    return sum(map(sum, lengths_of(workload)))


def fresh_requests(session: TimedSession, workload: Workload, *, seed: int) -> list[Generation]:
    generations = requests_of(workload, vocabulary=session.vocabulary, seed=seed)
    session.forget_prefixes()  # a cached prompt would make prefill look free
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
