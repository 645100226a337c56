"""Tiny checkpoints of many architectures: transformers' own classes, random weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from checkpoint_makers import make_tokenizer
from safetensors.torch import load_file, save_file
from torch import Tensor

COMMON = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
}
GPT2 = {"n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 128}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 16, "qk_nope_head_dim": 16}
SIZES: dict[str, dict[str, Any]] = {
    "Llama": COMMON,
    "Mixtral": COMMON | {"num_local_experts": 4},
    "Qwen2": COMMON,
    "Qwen2Moe": COMMON | EXPERTS | {"shared_expert_intermediate_size": 48},
    "Qwen3Moe": COMMON | EXPERTS | {"head_dim": 32},
    "Olmoe": COMMON | {"num_experts": 4, "num_experts_per_tok": 2},
    "GraniteMoe": COMMON | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "DeepseekV3": COMMON | LATENT | {"n_routed_experts": 4, "num_experts_per_tok": 2,
        "moe_intermediate_size": 32, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
        "v_head_dim": 32, "num_key_value_heads": 2},
    "GPTNeoX": COMMON,
    "Falcon": COMMON,
    "Cohere": COMMON,
    "GPT2": GPT2,
    "GPTJ": GPT2 | {"rotary_dim": 16},
    "GPTBigCode": GPT2,
    "Bloom": {"hidden_size": 64, "n_layer": 2, "n_head": 2},
    "Mpt": {"d_model": 64, "n_layers": 2, "n_heads": 2, "max_seq_len": 128},
    "OPT": COMMON | {"ffn_dim": 96, "word_embed_proj_dim": 64},
    "Mamba": {"hidden_size": 64, "num_hidden_layers": 2},
}  # fmt: skip


def make(kind: str, out: Path, *, seed: int = 0, near: Path | None = None, **changes: Any) -> Path:
    """A random model; with `near`, that model plus noise, like a fine-tune."""
    torch.manual_seed(seed)
    if near:
        model = transformers.AutoModelForCausalLM.from_pretrained(near, dtype=torch.float32)
    else:
        sizes = {"vocab_size": 96, "bos_token_id": 1, "eos_token_id": 1} | SIZES[kind] | changes
        config = getattr(transformers, f"{kind}Config")(**sizes)
        model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(out)
    make_tokenizer().save_pretrained(out)
    return out


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Path:
    """Replaces a folder's tensors."""
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})
    return folder
