"""A candidate as plain transformers runs it: one model, or a loop over a mix's members.

Shape letters: N tokens, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedTokenizerBase

from melange.harness.check.models import Model, Tokens, last_logits

Combine = Literal["logits", "probabilities"]


class Voice(NamedTuple):
    """A model of the mix."""

    model: Model
    coefficient: float = 1.0
    own_prompt: PreTrainedTokenizerBase | None = None
    """If set, it sees the prompt as a user's message in this tokenizer's chat template."""


class Row(NamedTuple):
    """A prompt and tokens after it; logits are wanted after the prompt and after each token."""

    prompt: tuple[int, ...]
    text: str
    """The prompt's text, for voices with their own template."""
    given: tuple[int, ...] = ()


class Scored(NamedTuple):
    """Sum of the continuation's log-probabilities (nats), and its number of tokens."""

    logprob: float
    num_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    voices: Sequence[Voice]
    """The base first."""
    tokenizer: PreTrainedTokenizerBase
    """The base's."""
    ends: frozenset[int]
    """Tokens at which generation ends."""
    context_length: int | None = None
    combine: Combine = "logits"
    made_by: str = "its own files"

    def loglikelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[Scored]:
        """Of each continuation after its context, tokenized as lm-eval's own backend does it."""
        rows = [self._pair(*pair) for pair in pairs]
        logits = self.next_logits([Row(row.prompt, row.text, row.given[:-1]) for row in rows])
        return [
            Scored(_chosen(logits_NV, row.given), len(row.given))
            for row, logits_NV in zip(rows, logits, strict=True)
        ]

    def next_logits(self, rows: Sequence[Row]) -> list[Tensor]:
        """Logits after the prompt and after each given token, [1 + given, V]."""
        distinct = list(dict.fromkeys(rows))
        keep = [1 + len(row.given) for row in distinct]
        each = [
            last_logits(voice.model, [_seen(voice, row) for row in distinct], keep)
            for voice in self.voices
        ]
        weights = [voice.coefficient for voice in self.voices]
        together = [combined(parts, weights, self.combine) for parts in zip(*each, strict=True)]
        found = dict(zip(distinct, together, strict=True))
        return [found[row] for row in rows]

    def encode(self, text: str) -> list[int]:
        """With special tokens, but without a second BOS if the text begins with one."""
        bos = self.tokenizer.bos_token
        more: dict[str, Any] = {"add_special_tokens": False} if bos and text.startswith(bos) else {}
        return list(self.tokenizer.encode(text, **more))

    def _pair(self, context: str, continuation: str) -> Row:
        """lm-eval's rule: spaces that end the context go to the continuation, and both are
        tokenized together."""
        if not context:
            return self._alone(continuation)
        stripped = context.rstrip()
        whole, before = self.encode(context + continuation), self.encode(stripped)
        return self._cut(whole[: len(before)], stripped, whole[len(before) :])

    def _alone(self, continuation: str) -> Row:
        first = self.tokenizer.bos_token_id
        first = self.tokenizer.eos_token_id if first is None else first
        tokens = self.tokenizer.encode(continuation, add_special_tokens=False)
        given = tokens[1:] if tokens[:1] == [first] else tokens
        return self._cut([first], "", given)

    def _cut(self, prompt: Tokens, text: str, given: Tokens) -> Row:
        """Keep the last tokens that fit, with room for one that the engine adds."""
        too_many = len(prompt) + len(given) - self.room
        kept = prompt[min(too_many, len(prompt) - 1) :] if too_many > 0 else prompt
        return Row(tuple(kept), text, tuple(given))

    @property
    def spread(self) -> float:
        """Factor of the errors of a sum of logits over those of a single model's."""
        if self.combine == "probabilities":
            return 1.0
        return max(1.0, math.sqrt(sum(voice.coefficient**2 for voice in self.voices)))

    @property
    def room(self) -> int:
        return (self.context_length or 2**40) - 1


def combined(parts: Sequence[Tensor], weights: Sequence[float], combine: Combine) -> Tensor:
    """Combine several models' logits; a token that one of them lacks gets probability 0.

    logits: sum of weight * logits. probabilities: log of the weighted mean of distributions.
    """
    if len(parts) == 1 and weights[0] == 1:
        return parts[0]
    width = min(part.shape[-1] for part in parts)
    shared = [part[:, :width].double() for part in parts]
    pairs = list(zip(weights, shared, strict=True))
    if combine == "probabilities":
        total = sum(weight * part.softmax(-1) for weight, part in pairs)
        result = torch.as_tensor(total).log()
    else:
        result = reduce(torch.add, (weight * part for weight, part in pairs))
    return pad(result, (0, parts[0].shape[-1] - width), value=float("-inf"))


def _seen(voice: Voice, row: Row) -> list[int]:
    if voice.own_prompt is None:
        return [*row.prompt, *row.given]
    message = [{"role": "user", "content": row.text}]
    rendered = voice.own_prompt.apply_chat_template(
        message, add_generation_prompt=True, return_dict=False
    )
    return [*rendered, *row.given]


def _chosen(logits_NV: Tensor, tokens: Tokens) -> float:
    logprobs_NV = logits_NV.double().log_softmax(-1)
    return float(logprobs_NV.gather(1, torch.tensor([list(tokens)]).T).sum())
