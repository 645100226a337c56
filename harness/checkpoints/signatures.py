"""What an engine fixes at its start: it can serve all checkpoints of one signature in turn.

Everything counts but what is known not to matter. A key too many costs another engine; a key too
few gives a checkpoint the scores of another one, and nobody is told.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from melange.harness.checkpoints.checksums import file_hash
from melange.harness.checkpoints.tensor_shapes import Shapes
from melange.harness.checkpoints.weight_files import read_json

WITHOUT_EFFECT = frozenset(
    {
        # Provenance and saving.
        "_name_or_path", "_commit_hash", "name_or_path", "transformers_version", "use_cache",
        "_from_model_config",
        # Weights are cast to the type that the engine computes in, which is part of its shape.
        "dtype", "torch_dtype",
        # Training.
        "initializer_range", "attention_dropout", "attention_probs_dropout_prob", "attn_pdrop",
        "hidden_dropout", "hidden_dropout_prob", "resid_pdrop", "embd_pdrop", "dropout",
        "classifier_dropout", "classifier_dropout_prob", "router_aux_loss_coef",
        "router_jitter_noise", "output_router_logits", "output_attentions",
        "output_hidden_states", "return_dict", "pretraining_tp",
    }
)  # fmt: skip
ROTARY = frozenset({"rope_theta", "rope_scaling", "rope_parameters"})
CHAT = frozenset({"chat_template"})
"""Prompts reach the engine as tokens."""
DECODING_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "added_tokens.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
)


def signature(config: Mapping[str, Any], shapes: Shapes, companions: str = "") -> str:
    """Hash of config.json and the shapes of the weights; `companions` is `companions_hash`."""
    content = {
        "config": _effective(config, WITHOUT_EFFECT | ROTARY),
        "rope": rope(config),
        "shapes": sorted(shapes.items()),
        "companions": companions,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def companions_hash(path: Path) -> str:
    """Of the files beside the weights from which an engine takes where a text ends and how tokens
    are written: generation_config.json and the tokenizer's."""
    content: list[Any] = [
        _effective(read_json(path / name), WITHOUT_EFFECT | CHAT)
        for name in ("generation_config.json", "tokenizer_config.json")
        if (path / name).is_file()
    ]
    content += [
        [name, file_hash(path / name)] for name in DECODING_FILES if (path / name).is_file()
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary settings, in the form of transformers before 5 or since."""
    settings = {"rope_theta": config.get("rope_theta"), "rope_type": "default"}
    settings |= config.get("rope_scaling") or {}
    settings |= config.get("rope_parameters") or {}
    settings["rope_type"] = settings.pop("type", settings["rope_type"])
    settings["rope_theta"] = float(settings["rope_theta"] or 10000.0)
    return settings


def _effective(content: Mapping[str, Any], left_out: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in left_out}
