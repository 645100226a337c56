"""Models that the engine would compute wrongly are refused, with the numbers; others are not."""

import re
import subprocess
import sys
from typing import Any

import pytest

import melange.harness.engines.environment  # noqa: F401 (before vllm)
from melange.harness.engine_choice import stray_key
from melange.harness.engines.limits import CPU_HEAD_SIZES, CPU_KV_CACHE_DTYPES, unserved

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 128,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
DYNAMIC = {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}
LONG = {"rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": 128}
WINDOWED = {
    "architectures": ["Qwen3ForCausalLM"],
    "num_hidden_layers": 2,
    "use_sliding_window": True,
    "sliding_window": 64,
}


def why(
    change: dict[str, Any] | None = None,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    **options: Any,
) -> str:
    return unserved(LLAMA | (change or {}), device=device, dtype=dtype, **options)


def of(architecture: str, **change: Any) -> dict[str, Any]:
    return {"architectures": [architecture], **change}


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"head_dim": 16}, {}, "heads of 16: .* has 32, 48, 64"),
        ({"hidden_size": 80}, {}, "heads of 20"),
        (DYNAMIC, {"max_model_len": 513}, "dynamic.* up to 512 tokens.*at most 512"),
        (LONG, {}, "longrope.* right up to 128 tokens of context, not up to 512"),
        (of("OlmoeForCausalLM", norm_topk_prob=True), {}, "norm_topk_prob=true"),
        (of("Cohere2ForCausalLM", sliding_window=64), {}, "sliding_window=64 .* up to 64"),
        (of("JambaForCausalLM"), {}, "JambaForCausalLM: .* on a CPU; use a GPU"),
        (of("FalconH1ForCausalLM"), {"dtype": "bfloat16"}, "FalconH1ForCausalLM"),
        (of("GraniteMoeHybridForCausalLM"), {}, "GraniteMoeHybridForCausalLM"),
        (of("DeepseekV2ForCausalLM", kv_lora_rank=32), {}, "in float32.*use dtype bfloat16"),
        (of("Qwen3NextForCausalLM"), {}, "linear attention .* use dtype bfloat16"),
        (
            of("Qwen2ForCausalLM", layer_types=["full_attention", "sliding_attention"]),
            {},
            "all layers or for none",
        ),
        (WINDOWED | {"max_window_layers": 1}, {}, "Qwen3ForCausalLM: .*all layers or for none"),
        ({}, {"kv_cache_dtype": "nvfp4"}, "kv_cache_dtype=nvfp4: .*use one of auto, fp8"),
        ({}, {"kv_cache_dtype": "bfloat16"}, "kv_cache_dtype=bfloat16"),
        ({"head_dim": 80}, {"kv_cache_dtype": "fp8"}, "heads of 80: .* divisible by 32"),
    ],
)
def test_what_goes_wrong_is_refused_in_one_line(
    change: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    reason = why(change, **options)
    assert re.search(message, reason)
    assert "\n" not in reason


@pytest.mark.parametrize(
    ("change", "options"),
    [
        ({}, {}),
        ({"head_dim": 16}, {"device": "cuda"}),
        (DYNAMIC, {}),
        (LONG, {"max_model_len": 128}),
        (of("OlmoeForCausalLM", norm_topk_prob=False), {}),
        (of("Cohere2ForCausalLM", sliding_window=64), {"max_model_len": 64}),
        (of("JambaForCausalLM"), {"device": "cuda"}),
        (of("DeepseekV2ForCausalLM", kv_lora_rank=32), {"dtype": "bfloat16"}),
        (of("Qwen3NextForCausalLM"), {"dtype": "bfloat16"}),
        (of("Qwen2ForCausalLM", layer_types=["sliding_attention"] * 2), {}),
        (WINDOWED | {"max_window_layers": 0}, {}),
        (WINDOWED | {"max_window_layers": 2}, {}),
        (WINDOWED | {"max_window_layers": 1, "use_sliding_window": False}, {}),
        ({}, {"kv_cache_dtype": "float32"}),
        ({}, {"kv_cache_dtype": "fp8_e5m2"}),
        ({}, {"kv_cache_dtype": "nvfp4", "device": "cuda"}),
    ],
)
def test_what_goes_well_is_served(change: dict[str, Any], options: dict[str, Any]) -> None:
    assert why(change, **options) == ""


@pytest.mark.parametrize(
    ("kind", "change", "stray"),
    [
        ("llama", {"sliding_window": 64}, "sliding_window=64"),
        ("gpt_neox", {"num_key_value_heads": 2}, "num_key_value_heads=2"),
        ("llama", {"sliding_window": None, "num_key_value_heads": 2}, ""),
        ("gpt_neox", {"num_key_value_heads": 4}, ""),
        ("mistral", {"sliding_window": 64}, ""),
    ],
)
def test_a_key_that_only_the_engine_heeds_is_refused(
    kind: str, change: dict[str, Any], stray: str
) -> None:
    reason = stray_key(LLAMA | {"model_type": kind} | change)
    assert stray in reason
    assert bool(reason) == bool(stray)


@pytest.mark.slow
def test_the_names_of_kv_caches_are_vllms() -> None:
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    assert set(CPUAttentionBackend.supported_kv_cache_dtypes) == set(CPU_KV_CACHE_DTYPES)
    assert set(CPUAttentionBackend.get_supported_head_sizes()) <= set(CPU_HEAD_SIZES)


def test_a_plan_needs_no_torch_to_ask() -> None:
    code = (
        "import sys, melange.harness.engines.limits;"
        "print('torch' in sys.modules, 'vllm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
