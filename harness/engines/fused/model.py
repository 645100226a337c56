"""The fused model: its members side by side, each with its own layers of one paged cache.

Shape letters: T tokens of a step, C_i width of member i, B rows to sample from, V tokens of the
base's vocabulary.
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor, nn
from vllm.compilation.backends import set_model_tag
from vllm.config import VllmConfig
from vllm.model_executor.model_loader.default_loader import DefaultModelLoader
from vllm.model_executor.models.utils import (
    AutoWeightsLoader,
    init_vllm_registered_model,
    maybe_prefix,
)
from vllm.sequence import IntermediateTensors

from melange.harness.engines.fused.folder import member_name, read_folder
from melange.harness.engines.fused.formulas import mask_implausible
from melange.harness.engines.fused.windows import keep_all_pages, window_of
from melange.harness.engines.logit_arithmetic import COMBINE
from melange.harness.errors import HarnessError


class LogitArithmeticForCausalLM(nn.Module):
    """Runs every member on the same tokens and combines their logits.

    vLLM schedules, caches and pages it as one model whose layers differ in width. The members
    are vLLM's own classes, with their own parallel layers and compiled code.
    """

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        self._model_config = vllm_config.model_config
        self._formula = read_folder(Path(self._model_config.model)).formula
        config = self._model_config.hf_config
        members = config.member_configs()
        self._names = list(members)
        self._widths = [member.hidden_size for member in members.values()]
        ends = list(accumulate(self._widths))
        self._columns = [
            slice(end - width, end) for end, width in zip(ends, self._widths, strict=True)
        ]
        for name, member in members.items():
            # The tag keeps the members' compiled code apart; see also `config._member_config`.
            with set_model_tag(name), window_of(member, vllm_config.cache_config):
                module = init_vllm_registered_model(
                    vllm_config, prefix=maybe_prefix(prefix, name), hf_config=member
                )
            keep_all_pages(module)
            self.add_module(name, module)
        self._combine = COMBINE[config.reduction]
        self.coefficients = _numbers(len(members))
        self.plausibility = None if config.plausibility is None else _numbers(1)

    @property
    def secondary_weights(self) -> Iterator[DefaultModelLoader.Source]:
        """The members' weights, which vLLM loads after those in the candidate's own folder.

        Looked up at every load, so that `reload_weights(weights_path=...)` finds the members of
        the folder that it names.
        """
        folder = read_folder(Path(self._model_config.model))
        if folder.formula != self._formula:
            raise HarnessError(
                f"{folder.path}: {folder.formula}, and the engine runs {self._formula}; "
                "start an engine for it."
            )
        for index, path in enumerate(folder.members):
            prefix = f"{member_name(index)}."
            yield DefaultModelLoader.Source(str(path), revision=None, prefix=prefix)

    def embed_input_ids(self, input_ids: Tensor) -> Tensor:
        embedded: Tensor = self._members()[0].embed_input_ids(input_ids)
        return embedded

    def forward(
        self,
        input_ids: Tensor,
        positions: Tensor,
        intermediate_tensors: IntermediateTensors | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """Hidden states of all members side by side, shape [T, sum of C_i]."""
        assert inputs_embeds is None, "a fused model takes token ids: its members embed them apart"
        side_by_side = None
        for member, columns in zip(self._members(), self._columns, strict=True):
            hidden = member(input_ids, positions)
            if side_by_side is None:
                side_by_side = hidden.new_empty(len(hidden), sum(self._widths))
            # At once: with CUDA graphs it may lie in a pool, over which the next member writes.
            side_by_side[:, columns] = hidden
        assert side_by_side is not None
        return side_by_side

    def compute_logits(self, hidden_states: Tensor) -> Tensor | None:
        """Combined logits, shape [B, V], float32; None on a rank that gathers none."""
        parts = hidden_states.split(self._widths, dim=-1)
        logits = [
            member.compute_logits(part.contiguous())
            for member, part in zip(self._members(), parts, strict=True)
        ]
        if logits[0] is None:
            return None
        combined = self._combine(logits, list(self.coefficients))
        if self.plausibility is None:
            return combined
        return mask_implausible(combined, logits[0], self.plausibility)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        return AutoWeightsLoader(self).load_weights(weights)

    def _members(self) -> list[nn.Module]:
        return [self.get_submodule(name) for name in self._names]


def _numbers(count: int) -> nn.Parameter:
    # Not in the model's dtype: bfloat16 would round 0.3 to 0.3008.
    return nn.Parameter(torch.zeros(count, dtype=torch.float32), requires_grad=False)
