"""Reloads a running engine's weights in place."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from melange.harness.engines.stale import filled_memory, spoil, spoilt

NamedTensors = Iterable[tuple[str, Tensor]]


def reload_weights(llm: Any, weights: Path | NamedTensors) -> list[str]:
    """Serve other weights of the same shapes: a checkpoint's or a fused candidate's folder.

    Tensors may come by name instead. Those, and any reload on a CPU, need the engine in this
    process.

    Returns the names of what was not loaded. If there are any, the engine serves garbage, as it
    does if this raises; start another.
    """
    from vllm.platforms import current_platform

    llm.apply_model(spoil)
    with filled_memory():
        if isinstance(weights, Path):
            llm.collective_rpc("reload_weights", kwargs={"weights_path": str(weights)})
        else:
            llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
    if current_platform.is_cpu():
        llm.apply_model(repack)
    llm.reset_prefix_cache()
    return [name for names in llm.apply_model(spoilt) for name in names]


def repack(model: nn.Module) -> None:
    """Repack weights, which vLLM 0.32 omits when it reloads on a CPU: scores would be wrong.

    CPU kernels multiply with packed copies of the weights. A reload does not pack the copies of
    a head that is tied to the embedding, and of a mixture's experts.
    """
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for module in model.modules():
        method = getattr(module, "quant_method", None)
        kernel = getattr(method, "moe_kernel", None)
        if kernel is not None:
            kernel.fused_experts.process_weights_after_loading(module)
        elif method is not None and isinstance(module, ParallelLMHead):
            method.process_weights_after_loading(module)
