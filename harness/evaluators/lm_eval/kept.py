"""What samples keep of an example's answers, and how that is put back into its requests.

`kept` and `put_back` are inverse to each other, so that a stored run can be scored again.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from lm_eval.api.instance import Instance

from melange.harness.samples import Sample


class Kept(NamedTuple):
    """Fields of `Sample`."""

    answer: str = ""
    texts: tuple[str, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    greedy: tuple[bool, ...] | None = None
    unconditional: tuple[float, ...] | None = None


def kept(instances: Sequence[Instance], num_choices: int, ballots: Sequence[str] | None) -> Kept:
    """Of an example's answered requests; without choices, it has one request.

    `ballots`: the texts that were voted on. Repeats of a request for log-probabilities are equal,
    so the first is kept.
    """
    first = instances[0]
    if first.request_type == "generate_until":
        texts = first.resps if len(first.resps) > 1 else ballots
        return Kept(str(first.resps[0]), tuple(map(str, texts)) if texts else None)
    if first.request_type == "loglikelihood_rolling":
        return Kept(logprobs=(float(first.resps[0]),))
    scores = [one.resps[0] for one in instances]
    asked, alone = scores[: num_choices or 1], scores[num_choices or 1 :]
    return Kept(
        logprobs=tuple(float(logprob) for logprob, _ in asked),
        greedy=tuple(bool(greedy) for _, greedy in scores),
        unconditional=tuple(float(logprob) for logprob, _ in alone) or None,
    )


def put_back(instances: Sequence[Instance], sample: Sample) -> Sequence[str] | None:
    """Give the requests the answers that the sample keeps; returns what was voted on."""
    for one in instances:
        one.filtered_resps = {}
    first = instances[0]
    if first.request_type == "generate_until":
        repeated = (first.repeats or 1) > 1
        first.resps = list(sample.texts or ()) if repeated else [sample.answer]
        return None if repeated else sample.texts
    logprobs = [*(sample.logprobs or ()), *(sample.unconditional or ())]
    if first.request_type == "loglikelihood_rolling":
        first.resps = logprobs * (first.repeats or 1)
        return None
    for one, logprob, greedy in zip(instances, logprobs, sample.greedy or (), strict=True):
        one.resps = [(logprob, greedy)] * (one.repeats or 1)
    return None


def asked(instances: Sequence[Instance]) -> str:
    """Hash of an example's requests without its prompt: continuations, settings, repeats."""
    prompt = instances[0].args[0]
    content: list[Any] = [
        ["" if one.args[0] == prompt else one.args[0], *one.args[1:], one.repeats]
        for one in instances
    ]
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
