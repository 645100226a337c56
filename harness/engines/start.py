"""Starts vLLM's engine in this process."""

import gc
from pathlib import Path
from typing import Any

from melange.harness.engines.process_groups import forget_process_groups, release_process_groups
from melange.harness.records import EngineShape

GARBAGE_THRESHOLD = 100_000
"""New objects after which garbage is collected. Most of an engine's objects are freed at once; few
are in reference cycles, which only the collector finds."""


def start(checkpoint: Path, shape: EngineShape) -> Any:
    from vllm import LLM

    from melange.harness.engines.corrections import correct
    from melange.harness.engines.fused.plugin import register

    register()
    correct(checkpoint, shape.device)
    options = _options(shape)
    forget_process_groups()
    gc.freeze()  # excludes imported modules from the collections of vLLM's start
    # A batch has tens of thousands of live objects: the default threshold of 700 is too low.
    gc.set_threshold(GARBAGE_THRESHOLD)
    llm = LLM(str(checkpoint), **options)
    # Requests keep their timings without Prometheus counters, which take a tenth of the time.
    llm.llm_engine.logger_manager = None
    if shape.device == "cpu":
        release_process_groups()
    return llm


def _options(shape: EngineShape) -> dict[str, Any]:
    """By vLLM's names."""
    asked = {
        "kv_cache_memory_bytes": shape.kv_cache_bytes,
        "kv_cache_dtype": shape.kv_cache_dtype,
        "quantization": shape.quantization,
        "gpu_memory_utilization": shape.gpu_memory_utilization,
    }
    return {
        "dtype": shape.dtype,
        "load_format": shape.load_format,
        "max_model_len": shape.max_model_len,
        "max_num_seqs": shape.max_num_seqs,
        **(_reward_options() if shape.runner == "pooling" else _language_options()),
        # The processor reads the tokens sampled so far, which async scheduling lacks.
        "async_scheduling": False,
        "disable_log_stats": False,
        "enable_prefix_caching": True,
        **{name: value for name, value in asked.items() if value is not None},
        **(_cpu_options() if shape.device == "cpu" else {}),
    }


def _language_options() -> dict[str, Any]:
    from melange.harness.engines.mix_processor import LogitMixing

    return {
        # By default, log-probabilities are those before logits processors.
        "logprobs_mode": "processed_logprobs",
        "logits_processors": [LogitMixing],
    }


def _reward_options() -> dict[str, Any]:
    from vllm.config import PoolerConfig

    # By default the head's output goes through a sigmoid.
    return {"runner": "pooling", "pooler_config": PoolerConfig(use_activation=False)}


def _cpu_options() -> dict[str, Any]:
    from melange.harness.engines.cpu_kernels import use_cpu_kernels

    _ask_for_matrix_tiles()
    return {
        "enforce_eager": True,
        "distributed_executor_backend": "uni",
        # Contexts are shared in whole blocks; vLLM's own choice for a CPU is 128 tokens, of which a
        # short context fills none. The CPU's attention takes multiples of 32.
        "block_size": 32,
        **use_cpu_kernels(),
    }


def _ask_for_matrix_tiles() -> None:
    """Linux lets a process use AMX's tile registers once it has asked; the first use kills another.

    oneDNN asks before its first large product in bfloat16. vLLM's attention does not ask, and may
    come first.
    """
    import torch

    if torch.cpu.get_capabilities().get("amx_bf16"):
        torch.cpu._init_amx()
