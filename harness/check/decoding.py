"""Greedy decoding with the run's answer as a draft.

One pass over prompt and draft gives the most likely token after every token of the draft. So a
correct answer costs one pass, with the same result as decoding token by token.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from melange.harness.check.reference import Reference, Row

PAST = 16
"""Tokens that are decoded after the two answers diverge."""
USUAL_TOKENS = 256
"""New tokens by default, as in lm-eval, if a task sets no number."""
PARTIAL = "\N{REPLACEMENT CHARACTER}"
"""How incomplete characters are decoded."""


class Wanted(NamedTuple):
    """A prompt, how to continue it, and the run's answer."""

    prompt: str
    draft: str
    max_tokens: int
    """0: the task sets no number."""
    stop: tuple[str, ...] = ()
    min_tokens: int = 0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0


class Said(NamedTuple):
    """The result of greedy decoding."""

    text: str
    sure: str
    """The text before the first near-tie; all of it if there is none."""
    num_tokens: int
    num_ties: int
    ended: bool
    """False if it was cut short some tokens after diverging from the draft."""


@dataclass(slots=True, kw_only=True)
class _Answer:
    """An answer that is being decoded."""

    wanted: Wanted
    prompt: tuple[int, ...]
    max_tokens: int
    out: list[int] = field(default_factory=list)
    first_tie: int | None = None
    num_ties: int = 0
    past: int = 0
    done: bool = False
    ended: bool = False


def decode_greedily(reference: Reference, asked: Sequence[Wanted], *, tie: float) -> list[Said]:
    """`tie`: logits that differ by at most this are a near-tie (nats). In one, the draft's token
    is taken, so that what follows can be compared too."""
    answers = [_start(reference, one) for one in asked]
    while active := [one for one in answers if not one.done]:
        drafts = [_draft(reference, one) for one in active]
        rows = [
            Row(one.prompt, one.wanted.prompt, (*one.out, *draft))
            for one, draft in zip(active, drafts, strict=True)
        ]
        logits = reference.next_logits(rows)
        for one, draft, logits_NV in zip(active, drafts, logits, strict=True):
            _advance(reference, one, draft, logits_NV[len(one.out) :], tie)
    return [_said(reference, one) for one in answers]


def _start(reference: Reference, wanted: Wanted) -> _Answer:
    limit = reference.context_length
    prompt, most = reference.encode(wanted.prompt), wanted.max_tokens or _usual_tokens(limit)
    if limit is not None:
        most = min(most, limit - 1)
        prompt = prompt[most - limit :]
    return _Answer(wanted=wanted, prompt=tuple(prompt), max_tokens=most)


def _usual_tokens(limit: int | None) -> int:
    """New tokens of a task that sets no number: lm-eval's default, or half of a short context."""
    return USUAL_TOKENS if limit is None or limit > USUAL_TOKENS else limit // 2


def _draft(reference: Reference, one: _Answer) -> list[int]:
    """The rest of the run's answer, as tokens; empty if the two have diverged."""
    said, draft = text_of(reference, one).rstrip(PARTIAL), one.wanted.draft
    if not draft.startswith(said):
        one.past += 1
        return []
    room = one.max_tokens - len(one.out) - 1
    whole = reference.encode(one.wanted.prompt + draft)
    before = [*reference.encode(one.wanted.prompt), *one.out]
    if whole[: len(before)] == before:
        return whole[len(before) :][:room]
    rest = reference.tokenizer.encode(draft[len(said) :], add_special_tokens=False)
    return list(rest)[:room]


def _advance(
    reference: Reference, one: _Answer, draft: Sequence[int], logits_NV: Tensor, tie: float
) -> None:
    """Accept tokens while they match the draft, then the first one that does not."""
    for guess, logits_V in zip([*draft, None], logits_NV, strict=True):
        scores_V = _penalized(reference, one, logits_V.double())
        (first, second), (best, _) = (part.tolist() for part in scores_V.topk(2))
        if first - second <= tie:
            one.num_ties += 1
            one.first_tie = len(one.out) if one.first_tie is None else one.first_tie
        as_good = guess is not None and first - float(scores_V[guess]) <= tie
        token = int(guess if guess is not None and as_good else best)
        one.out.append(token)
        one.ended = _has_ended(reference, one)
        one.done = one.ended or one.past >= PAST
        if one.done or token != guess:
            return


def _penalized(reference: Reference, one: _Answer, logits_V: Tensor) -> Tensor:
    wanted, out = one.wanted, one.out
    if wanted.repetition_penalty != 1:
        seen = torch.tensor(sorted({*one.prompt, *out}))
        values, penalty = logits_V[seen], wanted.repetition_penalty
        logits_V[seen] = torch.where(values > 0, values / penalty, values * penalty)
    for token, count in Counter(out).items():
        logits_V[token] -= wanted.presence_penalty + wanted.frequency_penalty * count
    if len(out) < wanted.min_tokens:
        logits_V[list(reference.ends)] = float("-inf")
    return logits_V


def _has_ended(reference: Reference, one: _Answer) -> bool:
    if one.out[-1] in reference.ends or len(one.out) >= one.max_tokens:
        return True
    with_special = reference.tokenizer.decode(one.out, skip_special_tokens=False)
    return any(stop in with_special for stop in one.wanted.stop)


def text_of(reference: Reference, one: _Answer, num_tokens: int | None = None) -> str:
    """Text of the first tokens that were decoded, up to a stop string.

    Decoded after the prompt's end: alone, some tokenizers drop a leading space.
    """
    out, before = one.out[:num_tokens], list(one.prompt[-8:])
    decode = reference.tokenizer.decode
    text = decode([*before, *out], skip_special_tokens=True)
    text = text[len(decode(before, skip_special_tokens=True)) :]
    for stop in one.wanted.stop:
        text = text.split(stop)[0] if stop else text
    return text


def _said(reference: Reference, one: _Answer) -> Said:
    text = text_of(reference, one)
    sure = text if one.first_tie is None else text_of(reference, one, one.first_tie)
    return Said(text, sure.rstrip(PARTIAL), len(one.out), one.num_ties, one.ended)
