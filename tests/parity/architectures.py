"""The architectures of `make parity`, as configs of a few hundred thousand parameters.

Widths of 128 and 64, heads of 32, a context of 1,024, windows of 64: the smallest at which the
engine's own kernels run and a prompt can be longer than a window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from parity import hub_files

CONTEXT_TOKENS = 1024
WINDOW_TOKENS = 64
COMMON: Mapping[str, Any] = {
    "num_hidden_layers": 2,
    "head_dim": 32,
    "max_position_embeddings": CONTEXT_TOKENS,
    "initializer_range": 0.15,  # ten times the usual one, for clear preferences
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LARGE: Mapping[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
SMALL: Mapping[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
"""Sizes of the small base and its fine-tune, which steer the large base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A table row. Sizes of COMMON, LARGE and SMALL are used where the config has such a key."""

    title: str
    config: str
    """Name of transformers' class, without `Config`."""
    keys: Mapping[str, Any] = field(default_factory=dict)
    """Keys of config.json other than sizes; the config must have them."""
    small: Mapping[str, Any] = field(default_factory=dict)
    """Keys that differ in the small models."""
    rewrite: hub_files.Rewrite | None = None
    """Changes a folder saved by today's transformers to the form of the hub's files."""
    build: Callable[..., Any] | None = None
    """Makes the config from its class's name and the keys, if calling the class does not."""


MULTIPLIERS = {
    "embedding_multiplier": 3.0,
    "logits_scaling": 4.0,
    "residual_multiplier": 0.3,
    "attention_multiplier": 0.17,
}
WINDOWS = {
    "sliding_window": WINDOW_TOKENS,
    "layer_types": ["sliding_attention", "full_attention"],
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 150_000.0,
    "factor": 8.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 128,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2}
LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
MAMBA = {"state_size": 16, "expand": 2}
MAMBA_2 = {"mamba_d_head": 32, "mamba_d_state": 16, "mamba_n_groups": 1, "mamba_chunk_size": 64}


def _row(title: str, config: str, **more: Any) -> Architecture:
    settings = {name: more.pop(name) for name in ("small", "rewrite", "build") if name in more}
    return Architecture(title=title, config=config, keys=more, **settings)


DENSE = {
    "Llama": _row("Llama", "Llama"),
    "Llama-tied": _row("Llama, tied embeddings", "Llama", tie_word_embeddings=True),
    "Llama-bias": _row("Llama, attention_bias", "Llama", attention_bias=True),
    "Llama-3.1": _row("Llama, rope of 3.1", "Llama", rope_parameters=LLAMA3_ROPE),
    "Llama-3.1-hub": _row(
        "Llama, rope of 3.1, the hub's keys",
        "Llama",
        rope_parameters=LLAMA3_ROPE,
        rewrite=hub_files.transformers_4_keys,
    ),
    "Mistral": _row("Mistral, window", "Mistral", sliding_window=WINDOW_TOKENS),
    "Qwen2": _row("Qwen 2", "Qwen2"),
    "Qwen2-hub": _row("Qwen 2, the hub's keys", "Qwen2", rewrite=hub_files.transformers_4_keys),
    "Qwen3": _row("Qwen 3", "Qwen3"),
    "Gemma": _row("Gemma", "Gemma"),
    "Gemma2": _row("Gemma 2", "Gemma2", query_pre_attn_scalar=32, **WINDOWS),
    "Gemma3": _row("Gemma 3, text", "Gemma3Text", query_pre_attn_scalar=32, **WINDOWS),
    "Gemma3-multimodal": _row(
        "Gemma 3, multimodal folder",
        "Gemma3Text",
        query_pre_attn_scalar=32,
        **WINDOWS,
        build=hub_files.gemma3_multimodal,
        rewrite=hub_files.add_image_processor,
    ),
    "Phi3": _row("Phi-3", "Phi3"),
    "Phi": _row("Phi 1 and 2", "Phi"),
    "Olmo": _row("OLMo", "Olmo"),
    "Olmo2": _row("OLMo 2", "Olmo2"),
    "Olmo3": _row("OLMo 3", "Olmo3", **WINDOWS),
    "SmolLM3": _row("SmolLM3", "SmolLM3", no_rope_layers=[1, 0]),
    "Starcoder2": _row("StarCoder2", "Starcoder2"),
    "GPTNeoX": _row("GPT-NeoX, as saved today", "GPTNeoX"),
    "Pythia": _row("GPT-NeoX, as Pythia's files", "GPTNeoX", rewrite=hub_files.pythia_files),
    "GPT2": _row("GPT-2", "GPT2"),
    "GPTJ": _row("GPT-J", "GPTJ", rotary_dim=16),
    "GPTBigCode": _row("GPTBigCode (StarCoder 1)", "GPTBigCode"),
    "Mpt": _row("MPT", "Mpt", max_seq_len=CONTEXT_TOKENS),
    "Bloom": _row("BLOOM", "Bloom", rewrite=hub_files.bloom_keys),
    "OPT": _row(
        "OPT",
        "OPT",
        ffn_dim=192,
        word_embed_proj_dim=128,
        init_std=0.15,
        small={"ffn_dim": 96, "word_embed_proj_dim": 64},
    ),
    "Falcon": _row("Falcon, layout of 7B", "Falcon"),
    "Falcon-hub": _row("Falcon, the hub's keys", "Falcon", rewrite=hub_files.falcon_keys),
    "StableLm": _row("StableLM", "StableLm"),
    "Glm4": _row("GLM-4", "Glm4"),
    "Nemotron": _row("Nemotron", "Nemotron"),
    "Granite": _row("Granite", "Granite", **MULTIPLIERS),
    "Cohere": _row("Cohere (Command-R)", "Cohere", logit_scale=0.5),
    "Cohere2": _row("Cohere 2 (Command-R7B)", "Cohere2", logit_scale=0.5, **WINDOWS),
    "Exaone4": _row("EXAONE 4", "Exaone4", sliding_window_pattern=2, **WINDOWS),
    "Arcee": _row("Arcee", "Arcee"),
    "SeedOss": _row("Seed-OSS", "SeedOss"),
    "HunYuan": _row("Hunyuan, dense", "HunYuanDenseV1"),
}
SPARSE = {
    "Mixtral": _row("Mixtral", "Mixtral", **LOCAL_EXPERTS),
    "Qwen2Moe": _row(
        "Qwen 2 MoE",
        "Qwen2Moe",
        **EXPERTS,
        moe_intermediate_size=64,
        shared_expert_intermediate_size=96,
    ),
    "Qwen3Moe": _row("Qwen 3 MoE", "Qwen3Moe", **EXPERTS, moe_intermediate_size=64),
    "Olmoe": _row("OLMoE", "Olmoe", **EXPERTS),
    "GraniteMoe": _row("Granite MoE", "GraniteMoe", **LOCAL_EXPERTS, **MULTIPLIERS),
    "GptOss": _row(
        "GPT-OSS, plain weights", "GptOss", **LOCAL_EXPERTS, **WINDOWS, rope_parameters=YARN
    ),
    "DeepseekV2": _row(
        "DeepSeek-V2",
        "DeepseekV2",
        num_key_value_heads=4,
        kv_lora_rank=32,
        q_lora_rank=None,
        qk_nope_head_dim=32,
        qk_rope_head_dim=32,
        v_head_dim=32,
        n_routed_experts=4,
        n_shared_experts=1,
        num_experts_per_tok=2,
        moe_intermediate_size=64,
        first_k_dense_replace=1,
        small={"num_key_value_heads": 2},
    ),
}
RECURRENT = {
    "Mamba": _row("Mamba", "Mamba", **MAMBA),
    "Mamba2": _row("Mamba 2", "Mamba2", **MAMBA, num_heads=8, n_groups=1, small={"num_heads": 4}),
    "Jamba": _row(
        "Jamba",
        "Jamba",
        **EXPERTS,
        attn_layer_period=2,
        attn_layer_offset=1,
        mamba_dt_rank=8,
    ),
    "Qwen3Next": _row(
        "Qwen 3 Next",
        "Qwen3Next",
        **EXPERTS,
        moe_intermediate_size=64,
        shared_expert_intermediate_size=64,
        linear_key_head_dim=32,
        linear_value_head_dim=32,
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        layer_types=["linear_attention", "full_attention"],
    ),
    "FalconH1": _row(
        "Falcon-H1",
        "FalconH1",
        **MAMBA_2,
        mamba_d_ssm=256,
        mamba_n_heads=8,
        small={"mamba_d_ssm": 128, "mamba_n_heads": 4},
    ),
    "GraniteHybrid": _row(
        "Granite hybrid",
        "GraniteMoeHybrid",
        **LOCAL_EXPERTS,
        **MULTIPLIERS,
        **MAMBA_2,
        shared_intermediate_size=96,
        mamba_n_heads=8,
        layer_types=["mamba", "attention"],
        small={"mamba_n_heads": 4},
    ),
}
ARCHITECTURES: Mapping[str, Architecture] = DENSE | SPARSE | RECURRENT
