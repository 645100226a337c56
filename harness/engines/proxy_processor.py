"""Proxy-tuning as a logits processor of vLLM's V1 runner.

A request names its experts in `SamplingParams.extra_args["proxy"]`:
`{"expert": folder, "antiexpert": folder, "alpha": 1.0}`; requests without it are left alone, so
one engine serves base models and their proxy-tuned forms.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from vllm import SamplingParams
from vllm.config import VllmConfig
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from harness.engines.logit_arithmetic import proxy_tune_logits
from harness.engines.small_model import Row, SmallModel


@dataclass(slots=True)
class Proxied:
    """A request of the batch that has experts."""

    expert: str
    antiexpert: str
    alpha: float
    slot: int
    prompt_ids: list[int]
    output_ids: list[int]
    """vLLM's own list: it grows as the request is decoded."""

    def row(self) -> Row:
        return Row(self.slot, [*self.prompt_ids, *self.output_ids])


class ProxyTuning(LogitsProcessor):
    """Adds alpha * (expert - antiexpert) to the logits of the requests that ask for it.

    Source: Liu et al. 2024, https://arxiv.org/abs/2401.08565, eq. 1.
    """

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        self._device = device
        self._dtype = vllm_config.model_config.dtype
        self._requests: dict[int, Proxied] = {}
        self._free_slots: list[int] = []
        self._next_slot = 0
        self._models: dict[str, SmallModel] = {}

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
        by_pair: dict[tuple[str, str], list[int]] = {}
        for index, request in sorted(self._requests.items()):
            by_pair.setdefault((request.expert, request.antiexpert), []).append(index)
        self._drop_unused({path for pair in by_pair for path in pair})
        for (expert, antiexpert), indices in by_pair.items():
            requests = [self._requests[index] for index in indices]
            rows = [request.row() for request in requests]
            alpha_B1 = logits.new_tensor([request.alpha for request in requests])[:, None]
            shift_BV = proxy_tune_logits(
                torch.zeros_like(logits[indices]),
                self._model(expert).next_logits(rows),
                self._model(antiexpert).next_logits(rows),
            )
            logits[indices] += alpha_B1 * shift_BV
        return logits

    def _add(
        self,
        index: int,
        params: SamplingParams,
        prompt_ids: list[int] | None,
        output_ids: list[int],
    ) -> None:
        wanted: dict[str, Any] | None = (params.extra_args or {}).get("proxy")
        if wanted:
            slot = self._take_slot()
            self._requests[index] = Proxied(
                slot=slot, prompt_ids=prompt_ids or [], output_ids=output_ids, **wanted
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

    def _model(self, path: str) -> SmallModel:
        if path not in self._models:
            self._models[path] = SmallModel(Path(path), dtype=self._dtype, device=self._device)
        return self._models[path]

    def _drop_unused(self, used: set[str]) -> None:
        """Experts of earlier candidates would count as this candidate's memory."""
        if used and not used >= self._models.keys():
            self._models = {path: model for path, model in self._models.items() if path in used}
