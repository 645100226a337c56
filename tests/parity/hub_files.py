"""Changes folders to the form of the hub's: older keys of config.json, buffers among weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Rewrite = Callable[[Path], None]
NOT_IN_OLDER_FILES = ("rope_parameters", "layer_types", "dtype", "head_dim")


def edit_config(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(change(json.loads(file.read_text())), indent=2))


def transformers_4_keys(folder: Path) -> None:
    """`rope_theta` and `rope_scaling` instead of `rope_parameters`, `torch_dtype` of `dtype`."""
    edit_config(folder, _older)


def _older(config: dict[str, Any]) -> dict[str, Any]:
    rope = dict(config["rope_parameters"])
    kept = {key: value for key, value in config.items() if key not in NOT_IN_OLDER_FILES}
    kept |= {"torch_dtype": "float32", "rope_theta": rope.pop("rope_theta")}
    if "partial_rotary_factor" in rope:
        kept["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    return kept if rope["rope_type"] == "default" else kept | {"rope_scaling": rope}


def pythia_files(folder: Path) -> None:
    """Pythia's files contain masks of context x context and rotary frequencies.

    In the smallest models the masks are larger than the weights.
    """
    config = json.loads((folder / "config.json").read_text())
    length, num_layers = config["max_position_embeddings"], config["num_hidden_layers"]
    head_dim = config["hidden_size"] // config["num_attention_heads"]
    steps = torch.arange(0, head_dim // 4, 2) / (head_dim // 4)
    buffers = {
        "attention.bias": torch.ones(length, length).tril().bool()[None, None],
        "attention.masked_bias": torch.tensor(-1e9),
        "attention.rotary_emb.inv_freq": 10_000.0**-steps,
    }
    file = folder / "model.safetensors"
    named = {
        f"gpt_neox.layers.{layer}.{name}": buffer.clone()
        for layer in range(num_layers)
        for name, buffer in buffers.items()
    }
    save_file(load_file(file) | named, file, metadata={"format": "pt"})
    edit_config(folder, _pythia)


def _pythia(config: dict[str, Any]) -> dict[str, Any]:
    older = _older(config)
    theta, share = older.pop("rope_theta"), older.pop("partial_rotary_factor", 0.25)
    return older | {"rotary_emb_base": theta, "rotary_pct": share}


def falcon_keys(folder: Path) -> None:
    """As tiiuae/falcon-7b: no context length, rotary keys or number of key-value heads."""
    absent = (*NOT_IN_OLDER_FILES, "max_position_embeddings", "num_kv_heads", "ffn_hidden_size")
    absent = (*absent, "num_ln_in_parallel_attn", "activation", "tie_word_embeddings")
    edit_config(folder, lambda config: _without(config, absent) | {"torch_dtype": "float32"})


def bloom_keys(folder: Path) -> None:
    """BLOOM's files have a key for the context that no class of transformers knows."""
    edit_config(folder, lambda config: config | {"seq_length": 1024})


def _without(config: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in keys}


def gemma3_multimodal(text: type, keys: Mapping[str, Any]) -> Any:
    """A Gemma 3 as from 4B on: the text model inside a multimodal one."""
    from transformers import Gemma3Config, SiglipVisionConfig

    vision = SiglipVisionConfig(
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    return Gemma3Config(
        text_config=text(**keys),
        vision_config=vision,
        mm_tokens_per_image=4,
        boi_token_index=317,
        eoi_token_index=318,
        image_token_index=319,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )


def add_image_processor(folder: Path) -> None:
    """Adds the image processor's config, which an engine needs to start even without images."""
    from transformers import AutoTokenizer, Gemma3ImageProcessor, Gemma3Processor

    tokenizer = AutoTokenizer.from_pretrained(folder)
    names = {"boi_token": 317, "eoi_token": 318, "image_token": 319}
    for name, index in names.items():
        setattr(tokenizer, name, tokenizer.convert_ids_to_tokens(index))
        setattr(tokenizer, f"{name}_id", index)
    images = Gemma3ImageProcessor(size={"height": 28, "width": 28})
    Gemma3Processor(images, tokenizer, image_seq_length=4).save_pretrained(folder)
