"""A model that runs beside the engine, one row of logits per request and step.

transformers runs it: the whole model is called, with transformers' cache, so that nothing that it
does to its attention and its logits is lost.

Shape letters: R rows, P tokens to compute, L tokens so far, V vocabulary.
"""

import inspect
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from melange.harness.engines.row_cache import Batch, Picked, join, new_cache

MAX_PADDED_TOKENS = 16_384
"""Upper bound of R * P in one forward pass, so that a burst of prompts fits in memory."""
MAX_MASK_ENTRIES = 2**24
"""Upper bound of R * P * P, the size of a mask."""


class Row(NamedTuple):
    """A request: its slot, and all its tokens so far."""

    slot: int
    token_ids: Sequence[int]


NOBODY = Row(-1, (0,))
"""Fills the row of a request that has left its batch."""


class SmallModel:
    """A causal language model of transformers that keeps the state of each slot's request."""

    def __init__(self, checkpoint: Path, *, dtype: torch.dtype, device: torch.device) -> None:
        config = AutoConfig.from_pretrained(checkpoint)
        # A mixture's balance matters in training alone, and does not fit the mask of a later step.
        config.get_text_config().output_router_logits = False
        model = AutoModelForCausalLM.from_pretrained(
            checkpoint, config=config, dtype=dtype, **_attention(config)
        )
        self._model = model.to(device).eval()
        self._takes_positions = "position_ids" in inspect.signature(model.forward).parameters
        self._max_cached_tokens = _max_cached_tokens(config)
        self._at: dict[int, tuple[Batch, int]] = {}
        self._device = device

    def forget(self, slot: int) -> None:
        """The slot's request has left; the next one in it starts from its prompt."""
        if slot in self._at:
            batch, r = self._at.pop(slot)
            batch.slots[r] = None

    @torch.inference_mode()
    def next_logits(self, rows: Sequence[Row]) -> Tensor:
        """Logits of the token after each row, shape [R, V], float32.

        A row that gained one token since its last call takes a step, one that gained none has its
        answer, and any other is computed from its first token.
        """
        following, fresh = [], []
        for row in rows:
            gained = self._num_gained(row)
            if gained == 1 and len(row.token_ids) <= self._max_cached_tokens:
                following.append(row)
            elif gained != 0:
                fresh.append(row)
        if following:
            self._follow(following)
        for part in self._parts(fresh):
            self._begin(part)
        answers = [self._at[row.slot] for row in rows]
        return torch.stack([batch.logits_RV[r] for batch, r in answers])

    def _num_gained(self, row: Row) -> int | None:
        """Tokens since the slot was last computed; None for a slot that was not."""
        if row.slot not in self._at:
            return None
        batch, r = self._at[row.slot]
        return len(row.token_ids) - batch.num_tokens[r]

    def _follow(self, rows: Sequence[Row]) -> None:
        """A step of rows from one batch or several, in one batch from now on."""
        picked: dict[int, Picked] = {}
        for batch, r in (self._at[row.slot] for row in rows):
            picked.setdefault(id(batch), Picked(batch, [])).rows.append(r)
        joined = join(list(picked.values()))
        by_slot: dict[int | None, Row] = {row.slot: row for row in rows}
        in_order = [by_slot.get(slot, NOBODY) for slot in joined.slots]
        self._run(in_order, 1, joined.cache, joined.length + 1)

    def _begin(self, rows: Sequence[Row]) -> None:
        longest = max(len(row.token_ids) for row in rows)
        cache = new_cache(self._model.config) if longest <= self._max_cached_tokens else None
        self._run(rows, longest, cache, longest)

    def _run(
        self, rows: Sequence[Row], num_pending: int, cache: DynamicCache | None, length: int
    ) -> None:
        """Compute the last tokens of rows, for which `length` columns are held after it."""
        num_tokens = [len(row.token_ids) for row in rows]
        padded = [_pad(row.token_ids, num_pending) for row in rows]
        given: dict[str, Any] = {"input_ids": torch.tensor(padded, device=self._device)}
        if cache is not None:
            given |= self._places(num_tokens, length, num_pending) | {"past_key_values": cache}
        logits_R1V = self._model(
            **given, use_cache=cache is not None, logits_to_keep=1, return_dict=True
        ).logits
        for row in rows:
            self.forget(row.slot)
        slots = [row.slot if row is not NOBODY else None for row in rows]
        batch = Batch(
            slots=slots,
            num_tokens=num_tokens,
            length=length,
            cache=cache,
            logits_RV=logits_R1V[:, -1].float(),
        )
        self._at |= {slot: (batch, r) for r, slot in enumerate(slots) if slot is not None}

    def _places(
        self, num_tokens: Sequence[int], length: int, num_pending: int
    ) -> dict[str, Tensor]:
        """Which columns are a row's own, and the positions of those to compute: as `generate`."""
        columns_L = torch.arange(length, device=self._device)
        places_RL = columns_L - (length - columns_L.new_tensor(num_tokens))[:, None]
        places = {"attention_mask": (places_RL >= 0).long()}
        if self._takes_positions:
            places["position_ids"] = places_RL[:, -num_pending:].clamp(min=0)
        return places

    def _parts(self, rows: Sequence[Row]) -> Iterator[list[Row]]:
        """Rows of similar lengths together; of equal ones, where nothing is cached or padded."""
        part: list[Row] = []
        for row in sorted(rows, key=lambda row: len(row.token_ids)):
            length = len(row.token_ids)
            shortest = len(part[0].token_ids) if part else length
            room = min(MAX_PADDED_TOKENS // length, MAX_MASK_ENTRIES // length**2)
            is_padded = length <= self._max_cached_tokens
            if part and (len(part) >= room or length > (2 if is_padded else 1) * shortest):
                yield part
                part = []
            part.append(row)
        if part:
            yield part


def _pad(token_ids: Sequence[int], width: int) -> list[int]:
    last = token_ids[-width:]
    return [*[0] * (width - len(last)), *last]


def _attention(config: Any) -> dict[str, str]:
    """transformers' default attention ignores soft caps in silence."""
    capped = getattr(config.get_text_config(), "attn_logit_softcapping", None)
    return {"attn_implementation": "eager"} if capped else {}


def _max_cached_tokens(config: Any) -> float:
    """Rows of more tokens are computed from their first token at every step, without padding."""
    if new_cache(config) is None:
        return 0
    ropes = getattr(config.get_text_config(), "rope_parameters", None) or {}
    each = [ropes, *(one for one in ropes.values() if isinstance(one, dict))]
    longropes = [one for one in each if one.get("rope_type") == "longrope"]
    # Beyond this length, the keys of all tokens before are turned by other angles.
    return min((one["original_max_position_embeddings"] for one in longropes), default=math.inf)
