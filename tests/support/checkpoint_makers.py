"""Tiny checkpoints for tests: real architectures, random weights, a real tokenizer."""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

# Threads do not help with matrices this small, and cost much on a busy machine.
torch.set_num_threads(1)

WORDS = [f"w{index}" for index in range(94)]


def make_tokenizer(words: list[str] = WORDS) -> PreTrainedTokenizerFast:
    vocabulary = {token: index for index, token in enumerate(["<unk>", "<s>", *words])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="<s>"
    )


def make_llama(
    out: Path,
    *,
    seed: int,
    near: Path | None = None,
    dtype: torch.dtype = torch.float32,
    words: list[str] = WORDS,
    **shape: int,
) -> Path:
    """A random Llama; with `near`, that model plus noise, like a fine-tune."""
    sizes = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
    } | shape
    generator = torch.Generator().manual_seed(seed)
    tokenizer = make_tokenizer(words)
    if near:
        model = LlamaForCausalLM.from_pretrained(near, dtype=dtype)
    else:
        # bos and eos are both <s>
        config = LlamaConfig(vocab_size=len(tokenizer), bos_token_id=1, eos_token_id=1, **sizes)
        model = LlamaForCausalLM(config).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.05
            is_norm = parameter.dim() == 1
            start = parameter if near else torch.full_like(parameter, float(is_norm))
            parameter.copy_(start + noise.to(dtype))
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out
