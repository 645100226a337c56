"""Log-likelihood requests, planned so that shared contexts and one-token choices are paid for once.

A node is a context with the first tokens of a continuation; asking the engine for one token after
it yields the log-probability of every continuation token wanted there. Four one-token choices of a
question are one node. Since a node is a decoding step, logits processors apply to it, which they
do not to prompt log-probabilities.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.requests import Request, Score, Tokens


class Prefix(NamedTuple):
    """What a continuation's next token follows. The two parts are kept apart for members of a mix
    that see the context in a form of their own."""

    context: Tokens
    given: Tokens = ()


class NodeResult(NamedTuple):
    logprobs: Mapping[int, float]
    """Token id -> log-probability (nats) after the node's prefix."""
    greedy_token: int


@dataclass(slots=True)
class Nodes:
    """Prefixes to ask the engine for, each with the tokens to read there."""

    wanted: dict[Prefix, set[int]] = field(default_factory=dict)

    def add(self, request: Request) -> None:
        for prefix, token in _steps(request):
            self.wanted.setdefault(prefix, set()).add(token)

    def __len__(self) -> int:
        return len(self.wanted)


def plan_nodes(requests: Sequence[Request]) -> Nodes:
    """The distinct prefixes that the requests need, in order of first use."""
    nodes = Nodes()
    for request in requests:
        nodes.add(request)
    return nodes


def read_scores(requests: Sequence[Request], results: Mapping[Prefix, NodeResult]) -> list[Score]:
    """Each request's score from the results of its nodes, in the order of the requests."""
    return [_read(request, results) for request in requests]


def _read(request: Request, results: Mapping[Prefix, NodeResult]) -> Score:
    logprob, greedy = 0.0, True
    for prefix, token in _steps(request):
        result = results[prefix]
        logprob += result.logprobs[token]
        greedy &= result.greedy_token == token
    return Score(logprob, greedy)


def _steps(request: Request) -> Iterator[tuple[Prefix, int]]:
    for done, token in enumerate(request.continuation):
        yield Prefix(request.context, request.continuation[:done]), token
