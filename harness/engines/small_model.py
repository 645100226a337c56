"""A model that runs beside the engine, one row of logits per request and step.

Shape letters: R rows, P pending tokens, T cached tokens, H key-value heads, D head size,
V vocabulary, N slots.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

GROWTH_TOKENS = 64
MAX_PADDED_TOKENS = 16_384
"""Upper bound of R * P in one forward pass, so that a burst of prompts fits in memory."""


class Row(NamedTuple):
    """A request: where its keys and values live, and all its tokens so far."""

    slot: int
    token_ids: Sequence[int]


class SlotCache:
    """Keys and values by slot, so that requests come and go without moving the others.

    transformers' attention calls `update` with the new keys and values of the rows that `select`
    named; it gets back all that those rows have seen. Positions that a row has not reached hold
    rubbish, which the caller's mask hides and a later token overwrites.
    """

    def __init__(self) -> None:
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}
        self._slots_R = torch.empty(0, dtype=torch.long)
        self._positions_RP = torch.empty(0, 0, dtype=torch.long)
        self._length = 0
        self._num_slots = 0

    def select(self, slots_R: Tensor, positions_RP: Tensor) -> int:
        """Name the rows of the next forward pass; returns T, the keys each will attend over."""
        self._slots_R, self._positions_RP = slots_R, positions_RP
        longest = int(positions_RP.max()) + 1
        self._length = -(-longest // GROWTH_TOKENS) * GROWTH_TOKENS
        self._num_slots = max(self._num_slots, int(slots_R.max()) + 1)
        return self._length

    def update(
        self, keys_RHPD: Tensor, values_RHPD: Tensor, layer: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        keys_NTHD, values_NTHD = self._room(layer, keys_RHPD)
        at = (self._slots_R[:, None], self._positions_RP)
        keys_NTHD[at] = keys_RHPD.transpose(1, 2)
        values_NTHD[at] = values_RHPD.transpose(1, 2)
        seen = slice(0, self._length)
        return (
            keys_NTHD[self._slots_R, seen].transpose(1, 2),
            values_NTHD[self._slots_R, seen].transpose(1, 2),
        )

    def _room(self, layer: int, like_RHPD: Tensor) -> tuple[Tensor, Tensor]:
        _, heads, _, size = like_RHPD.shape
        held = self._layers.get(layer)
        slots, length = held[0].shape[:2] if held else (0, 0)
        if held is None or slots < self._num_slots or length < self._length:
            grown = (max(slots, self._num_slots), max(length, self._length), heads, size)
            held = (
                _grow(held and held[0], grown, like_RHPD),
                _grow(held and held[1], grown, like_RHPD),
            )
            self._layers[layer] = held
        return held


class SmallModel:
    """A causal language model of transformers with a slot for each request."""

    def __init__(self, checkpoint: Path, *, dtype: torch.dtype, device: torch.device) -> None:
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype)
        self._model = model.to(device).eval()
        self._cache = SlotCache()
        self._cached: dict[int, int] = {}
        self._device = device

    def forget(self, slot: int) -> None:
        """The slot's request has left; the next one in it starts from its prompt."""
        self._cached.pop(slot, None)

    @torch.inference_mode()
    def next_logits(self, rows: Sequence[Row]) -> Tensor:
        """Logits of the token after each row, shape [R, V], float32.

        Only the tokens that a row gained since its last call are computed.
        """
        order = sorted(range(len(rows)), key=lambda r: self._pending(rows[r]))
        logits_RV: list[Tensor] = [torch.empty(0)] * len(rows)
        for part in self._parts(rows, order):
            for r, logits_V in zip(part, self._forward([rows[r] for r in part]), strict=True):
                logits_RV[r] = logits_V
        return torch.stack(logits_RV)

    def _pending(self, row: Row) -> int:
        # A row asked about twice without a new token still needs its last token computed.
        return max(1, len(row.token_ids) - self._cached.get(row.slot, 0))

    def _parts(self, rows: Sequence[Row], order: Sequence[int]) -> list[list[int]]:
        """Rows by pending length, so that decoding rows do not pad to a prompt's length."""
        parts: list[list[int]] = []
        for r in order:
            pending = self._pending(rows[r])
            last = parts[-1] if parts else None
            fits = last and (len(last) + 1) * pending <= MAX_PADDED_TOKENS
            if last and fits and pending <= 2 * self._pending(rows[last[0]]):
                last.append(r)
            else:
                parts.append([r])
        return parts

    def _forward(self, rows: Sequence[Row]) -> Tensor:
        pending = [self._pending(row) for row in rows]
        width = max(pending)
        tokens = [
            [*row.token_ids[-p:], *[0] * (width - p)] for row, p in zip(rows, pending, strict=True)
        ]
        tokens_RP = torch.tensor(tokens, device=self._device)
        starts_R = torch.tensor(
            [len(row.token_ids) - p for row, p in zip(rows, pending, strict=True)]
        )
        positions_RP = (starts_R[:, None] + torch.arange(width)).to(self._device)
        slots_R = torch.tensor([row.slot for row in rows], device=self._device)
        length = self._cache.select(slots_R, positions_RP)
        keys_T = torch.arange(length, device=self._device)
        mask_R1PT = (keys_T <= positions_RP[..., None])[:, None]
        hidden_RPC = self._model.base_model(
            input_ids=tokens_RP,
            attention_mask=mask_R1PT,
            position_ids=positions_RP,
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state
        self._cached.update({row.slot: len(row.token_ids) for row in rows})
        last_RC = hidden_RPC[torch.arange(len(rows)), torch.tensor(pending) - 1]
        logits_RV: Tensor = self._model.get_output_embeddings()(last_RC)
        return logits_RV.float()


def _grow(held: Tensor | None, shape: tuple[int, ...], like: Tensor) -> Tensor:
    grown = like.new_zeros(shape)
    if held is not None:
        grown[: held.shape[0], : held.shape[1]] = held
    return grown
