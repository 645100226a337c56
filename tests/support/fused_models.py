"""Tiny random members of fused models: every architecture, with random shapes."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from checkpoint_makers import make_tokenizer
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from melange.harness.engines.fused.folder import write_folder

ARCHITECTURES = (LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config, MixtralConfig)
TOKENIZER = make_tokenizer()
SPREAD = 2.0
"""Approximate standard deviation of logits: greedy choices are clear, but no model is certain."""


class Case(NamedTuple):
    """Proxy-tuning with random models."""

    folder: Path
    members: tuple[Path, Path, Path]
    alpha: float


def draw_case(number: int, out: Path) -> Case:
    """`number` cycles through the base's architectures, so that ten cases have each one twice."""
    rng = random.Random(number)
    columns = len(TOKENIZER) + rng.choice((0, 32))
    shapes = [draw_shape(rng, ARCHITECTURES[number % len(ARCHITECTURES)], columns)]
    shapes += [
        draw_shape(rng, rng.choice(ARCHITECTURES), len(TOKENIZER) + rng.choice((0, 8, 64)))
        for _ in range(2)
    ]
    alpha = rng.uniform(-1, 2)
    members = [make_member(out / f"{i}", shape, seed=i) for i, shape in enumerate(shapes)]
    folder = write_folder(out / "fused", members, [1, alpha, -alpha]).path
    return Case(folder, (members[0], members[1], members[2]), alpha)


def draw_shape(
    rng: random.Random, architecture: type[PreTrainedConfig], vocab_size: int
) -> PreTrainedConfig:
    heads, head_dim = rng.choice((2, 4)), rng.choice((32, 64))
    shape: dict[str, Any] = {
        "vocab_size": vocab_size,
        "num_attention_heads": heads,
        "num_key_value_heads": rng.choice([n for n in (1, 2, 4) if heads % n == 0]),
        "hidden_size": rng.choice((64, 96, 128)),
        "intermediate_size": rng.choice((64, 128)),
        "num_hidden_layers": rng.randint(1, 3),
        "tie_word_embeddings": rng.random() < 0.5,
        "max_position_embeddings": 256,
    }
    if architecture is Qwen2Config:  # has no option for the head size
        shape["hidden_size"] = heads * head_dim
    else:
        shape["head_dim"] = head_dim
    if architecture is MixtralConfig:
        shape |= {"num_local_experts": 4, "num_experts_per_tok": 2}
    return architecture(**shape)


def make_member(
    out: Path, config: PreTrainedConfig, *, seed: int, dtype: torch.dtype = torch.float32
) -> Path:
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                parameter.copy_(noise * SPREAD / parameter.shape[-1] ** 0.5)
            else:
                parameter.copy_(0.2 * noise + (0.0 if name.endswith("bias") else 1.0))
    model.to(dtype).save_pretrained(out)
    TOKENIZER.save_pretrained(out)
    return out


def same_shapes(
    out: Path, *, seed: int, count: int = 3, dtype: torch.dtype = torch.float32
) -> list[Path]:
    """A base and small models; the seed changes weights but not shapes.

    Tied embeddings and experts are hard to reload on a CPU.
    """
    sizes: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 64, "head_dim": 32}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 256}
    sizes |= heads | {"num_hidden_layers": 2, "vocab_size": len(TOKENIZER) + 8}
    base = LlamaConfig(
        **(sizes | {"hidden_size": 128, "num_attention_heads": 4, "vocab_size": len(TOKENIZER)}),
        tie_word_embeddings=True,
    )
    mixture = MixtralConfig(**sizes, num_local_experts=4, num_experts_per_tok=2)
    shapes = [base, mixture, Qwen3Config(**sizes), mixture, Qwen3Config(**sizes)]
    return [
        make_member(out / f"{seed}-{i}", shape, seed=seed + i, dtype=dtype)
        for i, shape in enumerate(shapes[:count])
    ]


def draw_prompts(
    seed: int, count: int, *, tokens: tuple[int, int], start: Sequence[int] = ()
) -> list[list[int]]:
    """Prompts of token ids with a common start; `tokens`: least and greatest length."""
    rng = random.Random(seed)
    lengths = [rng.randint(*tokens) for _ in range(count)]
    return [[*start, *rng.choices(range(2, len(TOKENIZER)), k=length)] for length in lengths]
