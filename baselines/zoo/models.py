"""The models that a zoo trains: how they are initialized or loaded, and how they are saved."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from melange.baselines.zoo.spec import Size

CONTEXT_TOKENS = 256  # the longest rows of a batch: positions after it are untrained
STORED = torch.bfloat16
"""Dtype of the weights on disk; config.json says float32, in which engines compute and tuning
continues. A base is rounded before it is tuned, so its file and a fine-tune's differ only by what
tuning added."""


def start_model(
    size: Size, tokenizer: PreTrainedTokenizerFast, parent_dir: str | None
) -> PreTrainedModel:
    # Fused attention's backward pass is several times slower on a CPU at these lengths.
    if parent_dir is not None:
        return LlamaForCausalLM.from_pretrained(
            parent_dir, dtype=torch.float32, attn_implementation="eager"
        )
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": size.width,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.kv_heads,
        "intermediate_size": size.ffn,
        "max_position_embeddings": CONTEXT_TOKENS,
        "tie_word_embeddings": size.tied,
        "attn_implementation": "eager",
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if not size.num_experts:
        return LlamaForCausalLM(LlamaConfig(**shape))
    experts = {
        "num_local_experts": size.num_experts,
        "num_experts_per_tok": size.experts_per_token,
    }
    return MixtralForCausalLM(MixtralConfig(**shape, **experts))


def with_adapter(model: PreTrainedModel, rank: int) -> PeftModel:
    """Trains and saves only low-rank updates of the layers' matrices."""
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config)


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """In `STORED`; an adapter, which is small, in float32."""
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(folder)
    if (weights := folder / "model.safetensors").is_file():
        rounded = {name: tensor.to(STORED) for name, tensor in load_file(weights).items()}
        save_file(rounded, weights, {"format": "pt"})
    tokenizer.save_pretrained(folder)
