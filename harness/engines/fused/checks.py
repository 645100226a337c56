"""What can be fused, and the errors that say why something cannot."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melange.harness.checkpoints.vocabularies import check_same_tokens, num_tokens
from melange.harness.checkpoints.weight_files import read_json
from melange.harness.errors import HarnessError

if TYPE_CHECKING:
    from melange.harness.engines.fused.folder import FusedFolder

MEMBER_ARCHITECTURES = (
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "MixtralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
)
"""Those that are held to transformers by tests; others may not follow this layout."""


def check(folder: "FusedFolder") -> None:
    """
    Raises:
        HarnessError: the numbers make no sense, or a member has other tokens than the base.
    """
    _check_numbers(folder)
    base = folder.members[0]
    # Columns behind the tokenizer's last token are padding, of which models have more or less.
    needed = num_tokens(base) or folder.configs[0]["vocab_size"]
    for path, config in zip(folder.members[1:], folder.configs[1:], strict=True):
        if config["vocab_size"] < needed:
            raise HarnessError(
                f"{path}: {config['vocab_size']} tokens in the vocabulary, the base {base} has "
                f"{needed}; use models with at least as many."
            )
        check_same_tokens(base, path)


def can_fuse(members: Iterable[Path]) -> bool:
    """Whether a fused model knows what is in these folders; it may still refuse how they fit."""
    configs = [read_json(path / "config.json") for path in members]
    return all(
        (config.get("architectures") or [None])[0] in MEMBER_ARCHITECTURES
        and not config.get("quantization_config")
        for config in configs
    )


def _check_numbers(folder: "FusedFolder") -> None:
    coefficients, where = folder.coefficients, f"{folder.path}: coefficients"
    if not folder.members or len(coefficients) != len(folder.members):
        raise HarnessError(
            f"{where}={list(coefficients)} for {len(folder.members)} models; give one for each."
        )
    if not all(math.isfinite(c) for c in coefficients):
        raise HarnessError(f"{where}={list(coefficients)}; use finite numbers.")
    if folder.reduction == "probabilities" and (
        min(coefficients) <= 0 or not math.isclose(sum(coefficients), 1, abs_tol=1e-6)
    ):
        raise HarnessError(
            f"{where}={list(coefficients)} with reduction 'probabilities'; "
            "use positive numbers that add up to 1."
        )
    if folder.plausibility is not None and not 0 < folder.plausibility <= 1:
        raise HarnessError(
            f"{folder.path}: plausibility={folder.plausibility}; use 0 < plausibility <= 1 or none."
        )


def read_member(path: Path) -> dict[str, Any]:
    """A member's config.json.

    Raises:
        HarnessError: the folder is missing, or a fused model cannot run what is in it.
    """
    if not (path / "config.json").is_file():
        raise HarnessError(f"{path}: no such checkpoint folder; build it or correct the path.")
    config = read_json(path / "config.json")
    architecture = (config.get("architectures") or [None])[0]
    if architecture not in MEMBER_ARCHITECTURES:
        raise HarnessError(
            f"{path}: {architecture} cannot be a part of a fused model; "
            f"use one of {', '.join(MEMBER_ARCHITECTURES)}."
        )
    if config.get("quantization_config"):
        raise HarnessError(
            f"{path}: is quantized; a fused model has no quantization, use the full weights."
        )
    if config.get("load_format") != "dummy" and not any(path.glob("*.safetensors")):
        raise HarnessError(f"{path}: has no safetensors files; convert its weights.")
    return config
