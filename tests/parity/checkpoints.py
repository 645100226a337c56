"""Tiny checkpoints of an architecture: a large base with its fine-tunes and a run, a small pair."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from parity.architectures import COMMON, LARGE, SMALL, Architecture
from parity.rows import TEXTS

VOCABULARY = 320
SPACE_AND_NEWLINE = ("\u0120", "\u010a")
"""As byte-level tokenizers write them."""
NOISE = 0.05
"""Standard deviation between a base and its fine-tunes; that of a base's weights is 0.15."""
BASES: Mapping[str, Mapping[str, Any]] = {"large_base": LARGE, "small_base": SMALL}
NEAR = {
    "large_base": ("large_a", "large_b", "large_run@1", "large_run@2", "large_run@3"),
    "small_base": ("small_tuned",),
}
"""Base -> roles that are the base plus noise."""


def make_checkpoints(architecture: Architecture, root: Path) -> dict[str, Path]:
    """A folder for each role, in float32."""
    generator = torch.Generator().manual_seed(21)
    tokenizer = make_tokenizer()
    folders: dict[str, Path] = {}
    for base, sizes in BASES.items():
        changed = architecture.small if base == "small_base" else {}
        model = make_model(architecture, {**sizes, **architecture.keys, **changed})
        add_noise(model, generator)  # biases and norms start as zeros and ones
        start = {name: value.clone() for name, value in model.named_parameters()}
        for role in (base, *NEAR[base]):
            if role != base:
                model.load_state_dict(start, strict=False)
                add_noise(model, generator)
            folders[role] = root / role
            model.save_pretrained(folders[role])
            tokenizer.save_pretrained(folders[role])
            if architecture.rewrite:
                architecture.rewrite(folders[role])
    return folders


def make_model(architecture: Architecture, keys: Mapping[str, Any]) -> Any:
    config_class = getattr(transformers, f"{architecture.config}Config")
    asked = known_keys(config_class, architecture, {"vocab_size": VOCABULARY, **COMMON, **keys})
    if architecture.build:
        config = architecture.build(config_class, asked)
        kind = transformers.AutoModelForImageTextToText
    else:
        config, kind = config_class(**asked), transformers.AutoModelForCausalLM
    torch.manual_seed(7)
    return kind.from_config(config, dtype=torch.float32)


def known_keys(
    config_class: Any, architecture: Architecture, keys: Mapping[str, Any]
) -> dict[str, Any]:
    """The keys by the config's names for them; sizes that it lacks are left out.

    An unknown key would be stored, and another reader of the file might use it.
    """
    fields = {field.name for field in dataclasses.fields(config_class)}
    named = {
        key if key in fields else config_class.attribute_map.get(key, key): value
        for key, value in keys.items()
    }
    stray = {*architecture.keys, *architecture.small} - fields
    assert not stray, f"{config_class.__name__} has no {', '.join(sorted(stray))}"
    return {key: value for key, value in named.items() if key in fields}


@torch.no_grad()
def add_noise(model: Any, generator: torch.Generator) -> None:
    for parameter in model.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=NOISE)


def make_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Byte-level like most, but with printable bytes only.

    Random models write many incomplete characters, which decoders turn into different texts.
    """
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=[*map(chr, range(33, 127)), *SPACE_AND_NEWLINE],
        show_progress=False,
    )
    raw.train_from_iterator(TEXTS, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
