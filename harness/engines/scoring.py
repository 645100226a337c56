"""Log-likelihood requests, planned so that shared contexts and one-token choices are paid for once.

A node is a context with the first tokens of a continuation; asking the engine for one token after
it yields the log-probability of every continuation token wanted there. Four one-token choices of a
question are one node. Since a node is a decoding step, logits processors apply to it, which they
do not to prompt log-probabilities.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from melange.harness.requests import Request, Score, Tokens

MAX_TOKENS_PER_NODE = 128
"""vLLM's limit on `logprob_token_ids`."""
LONG_CONTINUATION = 4
"""From this many tokens on, one pass with prompt log-probabilities beats a request per token."""


class Prefix(NamedTuple):
    """What a continuation's next token follows. The two parts are kept apart for members of a mix
    that see the context in a form of their own."""

    context: Tokens
    given: Tokens = ()


class NodeResult(NamedTuple):
    logprobs: Mapping[int, float]
    """Token id -> log-probability (nats) after the node's prefix."""
    greedy_token: int


Step = tuple[int, int]
"""A node, by its place, and the token to read there."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """Prefixes in order of first use, and the steps of each request through them."""

    prefixes: Sequence[Prefix]
    """Each once, or again where more tokens are wanted than one node can tell."""
    wanted: Sequence[Tokens]
    """The tokens to read at each prefix, ascending."""
    steps: Sequence[Sequence[Step]]


@dataclass(frozen=True, slots=True)
class ScoringPlan:
    """How a batch is scored: the distinct requests in one pass each, or by nodes."""

    batch: Sequence[Request]
    one_pass: bool
    """Prompt log-probabilities are the candidate's, so that long continuations may use them."""
    long: Sequence[Request]
    nodes: Nodes
    places: Sequence[int]
    """Of each request of the batch among `long`, then those of `nodes`."""


def plan_scoring(batch: Sequence[Request], *, one_pass: bool) -> ScoringPlan:
    distinct = list(dict.fromkeys(batch))
    long = [one for one in distinct if one_pass and len(one.continuation) >= LONG_CONTINUATION]
    taken = set(long)
    short = [one for one in distinct if one not in taken]
    places = {one: place for place, one in enumerate([*long, *short])}
    return ScoringPlan(batch, one_pass, long, plan_nodes(short), [places[one] for one in batch])


def plan_nodes(requests: Sequence[Request]) -> Nodes:
    places: dict[Prefix, int] = {}
    prefixes: list[Prefix] = []
    wanted: list[set[int]] = []
    steps: list[list[Step]] = []
    for context, continuation in requests:
        taken: list[Step] = []
        for done, token in enumerate(continuation):
            prefix = Prefix(context, continuation[:done])
            place = places.get(prefix)
            if place is None or _full(wanted[place], token):
                place = places[prefix] = len(wanted)
                prefixes.append(prefix)
                wanted.append(set())
            wanted[place].add(token)
            taken.append((place, token))
        steps.append(taken)
    return Nodes(prefixes, [tuple(sorted(tokens)) for tokens in wanted], steps)


def _full(wanted: set[int], token: int) -> bool:
    return len(wanted) == MAX_TOKENS_PER_NODE and token not in wanted


def read_scores(nodes: Nodes, results: Sequence[NodeResult]) -> list[Score]:
    """Each request's score from the results of the nodes, in the order of the requests."""
    return [_read(steps, results) for steps in nodes.steps]


def _read(steps: Sequence[Step], results: Sequence[NodeResult]) -> Score:
    logprob, greedy = 0.0, True
    for place, token in steps:
        logprobs, best = results[place]
        logprob += logprobs[token]
        greedy = greedy and best == token
    return Score(logprob, greedy)


class Row(Protocol):
    """vLLM's, of one token in one place."""

    logprob: float
    rank: int | None
    """1 for the likeliest."""


def read_prompt_score(request: Request, rows: Sequence[Mapping[int, Row] | None]) -> Score:
    """The score of a prompt's last tokens, from the rows of its tokens.

    From the end: vLLM's V1 runner returns a row for each token, V2 for those that were not cached.
    """
    logprob, greedy = 0.0, True
    last = rows[-len(request.continuation) :]
    for row, token in zip(last, request.continuation, strict=True):
        assert row is not None  # only the first token of a prompt has no row
        logprob += row[token].logprob
        greedy &= row[token].rank == 1
    return Score(logprob, greedy)
