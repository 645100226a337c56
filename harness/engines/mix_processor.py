"""Logit arithmetic as a logits processor of vLLM.

For members that see another prompt than the base; where all see the same tokens, the fused model
does the same at the engine's speed.

A request says what is mixed in `SamplingParams.extra_args["mix"]`, the fields of `Mix`; requests
without it are left alone, so one engine serves a base and its mixes.
"""

from typing import Any

from vllm import SamplingParams
from vllm.config import VllmConfig
from vllm.v1.sample.logits_processor import LogitsProcessor as InterfaceV1

from melange.harness.engines.mix_models import check_mix
from melange.harness.engines.mix_processor_v1 import LogitMixingV1

try:
    from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as InterfaceV2
except ModuleNotFoundError:
    # This vLLM's V2 takes no processors: given one, vLLM runs V1.
    InterfaceV2 = object


class LogitMixing(InterfaceV1, InterfaceV2):
    """What to give to `LLM(logits_processors=[...])`, whichever runner vLLM decides on.

    vLLM decides while it builds the engine, and a runner takes only classes of its own interface.
    This one is of both. The runner that builds it gets the processor for that runner: V1 passes
    a device and whether memory is pinned, V2 its requests' state.
    """

    def __new__(cls, vllm_config: VllmConfig, *rest: Any) -> Any:
        if len(rest) == 2:
            return LogitMixingV1(vllm_config, *rest)
        from melange.harness.engines.mix_processor_v2 import LogitMixingV2

        return LogitMixingV2(vllm_config, *rest)

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        check_mix(sampling_params)
