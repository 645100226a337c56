"""A base of 25 M parameters and two small models of 3 M, with random weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from checkpoint_makers import make_tokenizer
from fused_models import make_member
from transformers import LlamaConfig

VOCABULARY = 8192
BASE = {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 6,
        "num_attention_heads": 8, "num_key_value_heads": 8}  # fmt: skip
SMALL = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 3,
         "num_attention_heads": 6, "num_key_value_heads": 6}  # fmt: skip


def make_trio(out: Path) -> Mapping[str, Path]:
    """Base, expert and anti-expert by role."""
    tokenizer = make_tokenizer([f"w{index}" for index in range(VOCABULARY - 2)])
    roles = {"base": BASE, "expert": SMALL, "antiexpert": SMALL}
    for seed, (role, shape) in enumerate(roles.items()):
        make_member(out / role, _config(shape), seed=seed)
        tokenizer.save_pretrained(out / role)
    return {role: out / role for role in roles}


def _config(shape: Mapping[str, Any]) -> LlamaConfig:
    return LlamaConfig(
        **shape,
        vocab_size=VOCABULARY,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=1,
    )
