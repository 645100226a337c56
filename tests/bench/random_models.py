"""Llamas with random weights: bases of 5 M and 25 M parameters, and small ones of 3 M."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from checkpoint_makers import make_tokenizer
from fused_models import make_member
from public_rows import SYMBOLS, WORDS
from transformers import LlamaConfig

SIZES: Mapping[str, Mapping[str, Any]] = {
    "3m": {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 3,
           "num_attention_heads": 6, "num_key_value_heads": 6},
    "5m": {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4,
           "num_attention_heads": 8, "num_key_value_heads": 4},
    "25m": {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 6,
            "num_attention_heads": 8, "num_key_value_heads": 8},
}  # fmt: skip


def make_random(out: Path, size: str, *, seed: int = 0, context_length: int = 1024) -> Path:
    tokenizer = make_tokenizer([*SYMBOLS, *WORDS])
    config = LlamaConfig(
        **SIZES[size],
        vocab_size=len(tokenizer),
        max_position_embeddings=context_length,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=1,
    )
    make_member(out, config, seed=seed)
    tokenizer.save_pretrained(out)
    return out


def make_trio(out: Path, *, base: str) -> Mapping[str, Path]:
    """Base, expert and anti-expert by role."""
    roles = {"base": base, "expert": "3m", "antiexpert": "3m"}
    return {
        role: make_random(out / role, size, seed=seed)
        for seed, (role, size) in enumerate(roles.items())
    }
