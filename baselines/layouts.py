"""Names and shapes of the tensors that a config.json promises, for the architectures we merge."""

from collections.abc import Mapping
from typing import Any

Shapes = dict[str, tuple[int, ...]]


def head_dim(config: Mapping[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def kv_heads(config: Mapping[str, Any]) -> int:
    return int(config.get("num_key_value_heads") or config["num_attention_heads"])


def expected_shapes(config: Mapping[str, Any]) -> Shapes | None:
    """Tensors as they lie on disk; None for an architecture that is not known here."""
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
