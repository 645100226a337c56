"""Requests to a session, and their results."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Tokens = tuple[int, ...]


class Request(NamedTuple):
    """Score `continuation` after `context`; both are token ids, neither is empty."""

    context: Tokens
    continuation: Tokens


class Score(NamedTuple):
    """Sum of the continuation's log-probabilities (nats), and whether greedy decoding yields it."""

    logprob: float
    greedy: bool


class Generation(NamedTuple):
    """One prompt and how to continue it; greedy where `temperature` is 0."""

    prompt: Tokens
    max_tokens: int
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    min_tokens: int = 0
    seed: int | None = None
    ignore_eos: bool = False


class Length(NamedTuple):
    """Tokens of a request; of several requests, the maxima."""

    prompt: int
    """For a scored pair, with the continuation."""
    total: int
    """With the longest output that it may have."""


class Timing(NamedTuple):
    """Of one request, in seconds after it was sent."""

    first_token_sec: float
    last_token_sec: float


class Streamed(NamedTuple):
    """A request of an open loop and its output, in seconds after the loop began."""

    due_sec: float
    """When it was to be sent."""
    sent_sec: float
    """When the engine took it: a step that runs is finished first."""
    piece_sec: tuple[float, ...]
    """When each piece of the output came: a token, or several that one step accepted."""
    num_tokens: int

    @property
    def ttft_sec(self) -> float:
        return self.piece_sec[0] - self.due_sec

    @property
    def latency_sec(self) -> float:
        return self.piece_sec[-1] - self.due_sec


class Completion(NamedTuple):
    """What followed a prompt, without the stop string."""

    text: str
    token_ids: Tokens
    timing: Timing | None = None
    ballots: tuple[str, ...] = ()
    """The texts that were voted on, if a vote chose it."""


class Route(NamedTuple):
    """Which experts a text's tokens chose: L layers, T tokens, K experts each."""

    chosen_LTK: "NDArray[np.int64]"
    """By decreasing weight."""
    num_experts: int
    """In each layer."""
