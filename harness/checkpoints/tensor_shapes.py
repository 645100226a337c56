"""Names and shapes of the tensors that a config.json promises, for the architectures we merge."""

from collections.abc import Mapping
from typing import Any

Shapes = dict[str, tuple[int, ...]]
KV_HEADS = (
    "n_head_kv",
    "num_kv_heads",
    "num_key_value_heads",
    "multi_query_group_num",
    "kv_n_heads",
)
"""vLLM's, in ModelArchConfigConvertorBase.get_total_num_kv_heads, and DBRX's."""


def head_dim(config: Mapping[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def kv_heads(config: Mapping[str, Any]) -> int:
    """Number of key and value heads; the first models that had fewer of them use other keys."""
    if config.get("multi_query") and not config.get("new_decoder_architecture"):
        return 1  # GPTBigCode and Falcon
    settings = {**config, **(config.get("attn_config") or {})}  # MPT and DBRX nest them
    number = next((settings[key] for key in KV_HEADS if settings.get(key)), None)
    return int(number or config["num_attention_heads"])


def kv_width(config: Mapping[str, Any]) -> int:
    """Numbers that a layer caches per token; DeepSeek's cache one latent for all heads."""
    if latent := config.get("kv_lora_rank"):
        return int(latent) + int(config.get("qk_rope_head_dim") or 0)
    return 2 * kv_heads(config) * head_dim(config)


def expected_shapes(config: Mapping[str, Any]) -> Shapes | None:
    """Shapes of the tensors on disk; None for an architecture that is not known here."""
    architecture = config["architectures"][0]
    blocks = {
        "LlamaForCausalLM": dense_block,
        "MistralForCausalLM": dense_block,
        "LlamaForSequenceClassification": dense_block,
        "MixtralForCausalLM": expert_block,
    }
    if architecture not in blocks:
        return None
    width = config["hidden_size"]
    shapes: Shapes = {"model.embed_tokens.weight": (config["vocab_size"], width)}
    shapes["model.norm.weight"] = (width,)
    if architecture.endswith("CausalLM") and not config.get("tie_word_embeddings"):
        shapes["lm_head.weight"] = (config["vocab_size"], width)
    for layer in range(config["num_hidden_layers"]):
        block = attention(config) | blocks[architecture](config)
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in block.items()}
    return shapes


def attention(config: Mapping[str, Any]) -> Shapes:
    width = config["hidden_size"]
    queries = config["num_attention_heads"] * head_dim(config)
    keys = kv_heads(config) * head_dim(config)
    return {
        "input_layernorm": (width,),
        "post_attention_layernorm": (width,),
        "self_attn.q_proj": (queries, width),
        "self_attn.k_proj": (keys, width),
        "self_attn.v_proj": (keys, width),
        "self_attn.o_proj": (width, queries),
    }


def dense_block(config: Mapping[str, Any]) -> Shapes:
    width, inner = config["hidden_size"], config["intermediate_size"]
    return {
        "mlp.gate_proj": (inner, width),
        "mlp.up_proj": (inner, width),
        "mlp.down_proj": (width, inner),
    }


def expert_block(config: Mapping[str, Any]) -> Shapes:
    width, inner = config["hidden_size"], config["intermediate_size"]
    block: Shapes = {"block_sparse_moe.gate": (config["num_local_experts"], width)}
    for expert in range(config["num_local_experts"]):
        prefix = f"block_sparse_moe.experts.{expert}"
        block |= {f"{prefix}.w1": (inner, width), f"{prefix}.w3": (inner, width)}
        block[f"{prefix}.w2"] = (width, inner)
    return block
