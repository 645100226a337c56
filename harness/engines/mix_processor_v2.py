"""Logit arithmetic in the interface of vLLM's Model Runner V2.

Rows change places at every step; a request keeps its index until it ends or is preempted. Nobody
says when that is: the next request with the index takes its place. Tokens are on the device.
"""

from torch import Tensor
from vllm import SamplingParams
from vllm.config import VllmConfig
from vllm.v1.worker.gpu.sample.logits_processor import (
    LogitsContext,
    LogitsProcessor,
    LogitsProcRequestState,
)

from melange.harness.engines.mix_models import MixedRequest, MixModels, read_mix
from melange.harness.errors import HarnessError


class LogitMixingV2(LogitsProcessor):
    """Combines the logits of the requests that ask for it with those of the other members.

    Raises:
        HarnessError: the engine decodes speculatively.
    """

    def __init__(self, vllm_config: VllmConfig, req_states: LogitsProcRequestState) -> None:
        if vllm_config.speculative_config is not None:
            raise HarnessError(
                "speculative_config: the members of a mix follow one token a step; "
                "leave speculative decoding out, or the logits processor."
            )
        self._states = req_states
        self._models = MixModels(vllm_config, req_states.device)
        self._requests: dict[int, MixedRequest] = {}
        self._slots: dict[int, int] = {}

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        """Also for a request that comes back from a preemption, with its output as a prefill."""
        if req_idx in self._slots:
            self._models.forget(self._slots[req_idx])
        self._requests.pop(req_idx, None)
        mix = read_mix(sampling_params)
        if mix is None:
            return False
        # vLLM hands out its highest index first; the members' caches grow with their highest slot.
        slot = self._slots.setdefault(req_idx, len(self._slots))
        self._requests[req_idx] = MixedRequest(mix=mix, slot=slot, prompt_ids=[], output_ids=[])
        return True

    def apply(self, logits: Tensor, ctx: LogitsContext) -> Tensor:
        # The warm-up's rows belong to no request; asking here leaves the device alone.
        if any(index in self._requests for index in ctx.idx_mapping_np.tolist()):
            self._models.combine(logits, self._rows(ctx))
        return logits

    def _rows(self, ctx: LogitsContext) -> dict[int, MixedRequest]:
        """The mixed requests by row, their tokens up to date.

        Those in the middle of their prefill are left out: nobody reads what follows a chunk.
        """
        indices, positions, last_tokens = (
            part.tolist() for part in (ctx.expanded_idx_mapping, ctx.pos, ctx.input_ids)
        )
        rows = {}
        for row, (index, position, last_token) in enumerate(
            zip(indices, positions, last_tokens, strict=True)
        ):
            request = self._requests.get(index)
            if request is not None and position + 1 >= self._states.prefill_len.np[index]:
                self._catch_up(request, index, position + 1, last_token)
                rows[row] = request
        return rows

    def _catch_up(self, request: MixedRequest, index: int, length: int, last_token: int) -> None:
        known = len(request.prompt_ids) + len(request.output_ids)
        if known and known + 1 == length:
            request.output_ids.append(last_token)
            return
        token_ids = self._states.all_token_ids.gpu[index, :length].tolist()
        prompt_len = int(self._states.prompt_len.np[index])
        request.prompt_ids, request.output_ids = token_ids[:prompt_len], token_ids[prompt_len:]
