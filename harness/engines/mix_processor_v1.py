"""Logit arithmetic in the interface of vLLM's V1 runner: requests are rows, which move."""

import torch
from torch import Tensor
from vllm import SamplingParams
from vllm.config import VllmConfig
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from melange.harness.engines.mix_models import MixedRequest, MixModels, read_mix


class LogitMixingV1(LogitsProcessor):
    """Combines the logits of the requests that ask for it with those of the other members."""

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        self._models = MixModels(vllm_config, device)
        self._requests: dict[int, MixedRequest] = {}
        self._free_slots: list[int] = []
        self._next_slot = 0

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
        self._models.combine(logits, self._requests)
        return logits

    def _add(
        self,
        index: int,
        params: SamplingParams,
        prompt_ids: list[int] | None,
        output_ids: list[int],
    ) -> None:
        mix = read_mix(params)
        if mix:
            # vLLM's own list of output tokens: it grows as the request is decoded.
            self._requests[index] = MixedRequest(
                mix=mix, slot=self._take_slot(), prompt_ids=prompt_ids or [], output_ids=output_ids
            )

    def _remove(self, index: int) -> None:
        gone = self._requests.pop(index, None)
        if gone is not None:
            self._free_slots.append(gone.slot)
            self._models.forget(gone.slot)

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
