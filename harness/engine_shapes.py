"""Checkpoints, tasks and options -> the engine that serves them.

What no option sets follows from the work: the context length from the longest request, the KV cache
from the number of requests at once. Plain arithmetic, so that plans can ask.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from melange.harness.checkpoints.configs import REWARD_MODEL
from melange.harness.checkpoints.info import CheckpointInfo, inspect
from melange.harness.engines.fused.folder import is_fused, read_folder
from melange.harness.errors import HarnessError
from melange.harness.records import EngineOptions, EngineShape, LoadFormat, Workload

SHORT_CONTEXT = 2048
"""In tokens. A model with at most this context is served with all of it; a longer one with as much
as its work needs."""
CONTEXT_STEP = 512
"""Context lengths are multiples of it, so that candidates with similar tasks share an engine."""
BLOCK_TOKENS = 32
LEAST_KV_BYTES = 256 * 2**20
KV_SHARE = 0.25
"""Share of the memory that the KV cache takes at most, unless a single request needs more."""
ENGINE_BYTES = 3 * 2**29
"""Memory of an engine without weights and KV cache: libraries and activations."""
PACKED = 2
"""CPU kernels use packed copies of the weights, in addition to those that were loaded."""


class Work(NamedTuple):
    """What an engine has to hold."""

    longest: int | None = None
    """Tokens of the tasks' longest request, output included; None if not measured, because the
    models' contexts are short."""
    workloads: Sequence[Workload] = ()
    memory_bytes: int | None = None
    """Total memory of the device; None if unknown."""


def shape_of(
    served: Sequence[CheckpointInfo],
    checkpoint: Path,
    device: str,
    options: EngineOptions = EngineOptions(),  # noqa: B008 (frozen)
    work: Work = Work(),  # noqa: B008
) -> EngineShape:
    """The shape of the engine that serves `checkpoint`. `served`: its model, or the members of a
    fused mix, from `as_computed`."""
    parts = [one.signature for one in served] + [str(served[0].tokenizer)]
    length = served[0].context_length
    if is_fused(checkpoint):
        mix = read_folder(checkpoint)
        parts.append(mix.formula)
        length = mix.context_length
    max_model_len = options.max_model_len or context(length, work.longest, work.workloads)
    per_token = sum(one.kv_bytes_per_token for one in served)
    kv_bytes = options.kv_cache_memory_bytes
    if kv_bytes is None and device == "cpu":
        kv_bytes = kv_cache_bytes(per_token, max_model_len, work.workloads, work.memory_bytes)
    return EngineShape(
        signature="-".join(parts),
        max_model_len=max_model_len,
        dtype=served[0].dtype,
        device="cuda" if device == "cuda" else "cpu",
        load_format=_load_format(served),
        runner="pooling" if served[0].architecture.endswith(REWARD_MODEL) else "generate",
        kv_cache_bytes=kv_bytes,
        kv_cache_dtype=options.kv_cache_dtype or "auto",
        quantization=options.quantization,
        gpu_memory_utilization=options.gpu_memory_utilization,
    )


def context(model_tokens: int, longest: int | None, workloads: Sequence[Workload]) -> int:
    """Context length of an engine for a model that could attend to `model_tokens`."""
    if longest is None or model_tokens <= SHORT_CONTEXT:
        return model_tokens
    needed = max([longest, *(one.prompt_tokens + one.output_tokens for one in workloads)])
    return min(model_tokens, max(SHORT_CONTEXT, _up_to(needed, CONTEXT_STEP)))


def kv_cache_bytes(
    per_token: int, max_model_len: int, workloads: Sequence[Workload], memory_bytes: int | None
) -> int:
    """Bytes for all requests of a workload at once, up to `KV_SHARE` of the memory; always enough
    for one request of the full context."""
    one_request = per_token * _up_to(max_model_len + 1, BLOCK_TOKENS)
    at_once = [
        one.num_requests * per_token * _up_to(one.prompt_tokens + one.output_tokens, BLOCK_TOKENS)
        for one in workloads
    ]
    wanted = max([LEAST_KV_BYTES, *at_once])
    most = wanted if memory_bytes is None else max(LEAST_KV_BYTES, int(KV_SHARE * memory_bytes))
    return max(one_request + one_request // 16, min(wanted, most))


def as_computed(folder: Path, options: EngineOptions) -> CheckpointInfo:
    """The checkpoint, with the dtypes that the engine is asked to use."""
    info = inspect(folder, options.dtype)
    if not (options.kv_cache_dtype or "").startswith("fp8"):
        return info
    kv_bytes = info.kv_bytes_per_token // DTYPE_BYTES[info.dtype]
    return info.model_copy(update={"kv_bytes_per_token": kv_bytes})


def engine_bytes(shape: EngineShape, *weights_bytes: int) -> int:
    """Estimated memory of an engine's process on a CPU that serves these models in turn."""
    return ENGINE_BYTES + (shape.kv_cache_bytes or 0) + PACKED * max(weights_bytes, default=0)


DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def _up_to(number: int, step: int) -> int:
    return -(-number // step) * step


def _load_format(served: Sequence[CheckpointInfo]) -> LoadFormat:
    """
    Raises:
        HarnessError: only some have weights; an engine would randomize those too.
    """
    without = [one for one in served if one.load_format == "dummy"]
    if without and len(without) < len(served):
        raise HarnessError(
            f"{without[0].path}: has a config and no weights, other members of the mix have "
            "weights; take all of them from one zoo."
        )
    return served[0].load_format
