"""Plans log-likelihood requests so that each shared context is computed once.

A node is a context and the first tokens of a continuation. Asking the engine for one token after it
yields the log-probabilities of all tokens that any request wants next: four one-token choices of a
question are one node. A node is a decoding step, so logits processors apply to it; they do not
apply to prompt log-probabilities.
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
    """The tokens before a continuation's next one. The two parts are kept apart because a member of
    a mix may see the context in another prompt format."""

    context: Tokens
    given: Tokens = ()


class NodeResult(NamedTuple):
    logprobs: Mapping[int, float]
    """Token id -> log-probability (nats) after the node's prefix."""
    greedy_token: int


TokenLookup = tuple[int, int]
"""The index of a node, and the token whose log-probability is read from it."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """Prefixes in order of first use, and where each request reads its tokens."""

    prefixes: Sequence[Prefix]
    """Each once; more often if more tokens are wanted than one node can report."""
    wanted: Sequence[Tokens]
    """The tokens to read at each prefix, ascending."""
    lookups: Sequence[Sequence[TokenLookup]]
    """By request, one for each token of its continuation."""


@dataclass(frozen=True, slots=True)
class ScoringPlan:
    """How a batch is scored: each distinct request in one pass, or by nodes."""

    batch: Sequence[Request]
    one_pass: bool
    """Prompt log-probabilities are those of the candidate, so long continuations may use them."""
    long: Sequence[Request]
    nodes: Nodes
    places: Sequence[int]
    """For each request of the batch, its index in `long` followed by the requests of `nodes`."""


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
    lookups: list[list[TokenLookup]] = []
    for context, continuation in requests:
        taken: list[TokenLookup] = []
        for done, token in enumerate(continuation):
            prefix = Prefix(context, continuation[:done])
            place = places.get(prefix)
            if place is None or _full(wanted[place], token):
                place = places[prefix] = len(wanted)
                prefixes.append(prefix)
                wanted.append(set())
            wanted[place].add(token)
            taken.append((place, token))
        lookups.append(taken)
    return Nodes(prefixes, [tuple(sorted(tokens)) for tokens in wanted], lookups)


def _full(wanted: set[int], token: int) -> bool:
    return len(wanted) == MAX_TOKENS_PER_NODE and token not in wanted


def read_scores(nodes: Nodes, results: Sequence[NodeResult]) -> list[Score]:
    """Each request's score from the results of the nodes, in the order of the requests."""
    return [_read(lookups, results) for lookups in nodes.lookups]


def _read(lookups: Sequence[TokenLookup], results: Sequence[NodeResult]) -> Score:
    logprob, greedy = 0.0, True
    for place, token in lookups:
        logprobs, best = results[place]
        logprob += logprobs[token]
        greedy = greedy and best == token
    return Score(logprob, greedy)


class Row(Protocol):
    """vLLM's entry for one token at one position."""

    logprob: float
    rank: int | None
    """1 for the most likely token."""


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
