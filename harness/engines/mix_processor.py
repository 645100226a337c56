"""Logit arithmetic as a logits processor of vLLM's V1 runner.

For members that see another prompt than the base; where all see the same tokens, the fused model
does the same at the engine's speed.

A request says what is mixed in `SamplingParams.extra_args["mix"]`, the fields of `Mix`; requests
without it are left alone, so one engine serves a base and its mixes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from vllm import SamplingParams
from vllm.config import VllmConfig
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from harness.engines.logit_arithmetic import COMBINE
from harness.engines.small_model import Row, SmallModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """What a request is mixed from. `coefficients` start with the base's."""

    combine: str
    coefficients: list[float]
    folders: list[str]
    """Of the members beside the base."""
    prompts: list[list[int] | None]
    """Token ids that each of these sees before the output; None for the base's."""


@dataclass(slots=True, kw_only=True)
class Mixed:
    """A request of the batch that is mixed."""

    mix: Mix
    slot: int
    prompt_ids: list[int]
    output_ids: list[int]
    """vLLM's own list: it grows as the request is decoded."""

    @property
    def kind(self) -> tuple[str, ...]:
        """Requests of one kind are computed together."""
        return (self.mix.combine, *self.mix.folders)

    def row(self, member: int) -> Row:
        prompt_ids = self.mix.prompts[member] or self.prompt_ids
        return Row(self.slot, [*prompt_ids, *self.output_ids])


class LogitMixing(LogitsProcessor):
    """Combines the logits of the requests that ask for it with those of the other members."""

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        self._device = device
        self._dtype = vllm_config.model_config.dtype
        self._requests: dict[int, Mixed] = {}
        self._free_slots: list[int] = []
        self._next_slot = 0
        self._models: dict[tuple[str, int], SmallModel] = {}

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        if batch_update is None:
            return
        for index in batch_update.removed:
            self._remove(index)
        for index, params, prompt_ids, output_ids in batch_update.added:
            self._remove(index)
            self._add(index, params, prompt_ids, output_ids)
        for source, target, direction in batch_update.moved:
            self._move(source, target, swap=direction == MoveDirectionality.SWAP)

    def apply(self, logits: Tensor) -> Tensor:
        by_kind: dict[tuple[str, ...], list[int]] = {}
        for index, request in sorted(self._requests.items()):
            by_kind.setdefault(request.kind, []).append(index)
        self._drop_unused()
        for indices in by_kind.values():
            requests = [self._requests[index] for index in indices]
            logits[indices] = self._combined(logits[indices], requests).to(logits.dtype)
        return logits

    def _combined(self, base_BV: Tensor, requests: list[Mixed]) -> Tensor:
        mix = requests[0].mix
        members_BV = [
            self._model(folder, member).next_logits([request.row(member) for request in requests])
            for member, folder in enumerate(mix.folders)
        ]
        coefficients_MB1 = base_BV.new_tensor([one.mix.coefficients for one in requests]).T[
            ..., None
        ]
        return COMBINE[mix.combine]([base_BV, *members_BV], list(coefficients_MB1))

    def _add(
        self,
        index: int,
        params: SamplingParams,
        prompt_ids: list[int] | None,
        output_ids: list[int],
    ) -> None:
        wanted: dict[str, Any] | None = (params.extra_args or {}).get("mix")
        if wanted:
            self._requests[index] = Mixed(
                mix=Mix(**wanted),
                slot=self._take_slot(),
                prompt_ids=prompt_ids or [],
                output_ids=output_ids,
            )

    def _remove(self, index: int) -> None:
        gone = self._requests.pop(index, None)
        if gone is not None:
            self._free_slots.append(gone.slot)
            for model in self._models.values():
                model.forget(gone.slot)

    def _move(self, source: int, target: int, *, swap: bool) -> None:
        moving, displaced = self._requests.pop(source, None), self._requests.pop(target, None)
        if moving is not None:
            self._requests[target] = moving
        if displaced is not None and swap:
            self._requests[source] = displaced

    def _take_slot(self) -> int:
        if self._free_slots:
            return self._free_slots.pop()
        self._next_slot += 1
        return self._next_slot - 1

    def _model(self, folder: str, member: int) -> SmallModel:
        # By member: a checkpoint that enters twice with different prompts needs two caches.
        if (folder, member) not in self._models:
            self._models[folder, member] = SmallModel(
                Path(folder), dtype=self._dtype, device=self._device
            )
        return self._models[folder, member]

    def _drop_unused(self) -> None:
        """Members of earlier candidates would count as this candidate's memory."""
        used = {pair for one in self._requests.values() for pair in _pairs(one.mix)}
        if used and not used >= self._models.keys():
            self._models = {key: model for key, model in self._models.items() if key in used}


def _pairs(mix: Mix) -> list[tuple[str, int]]:
    return [(folder, member) for member, folder in enumerate(mix.folders)]
