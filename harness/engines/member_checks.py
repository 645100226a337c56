"""Which small models the logits processor cannot run beside the base. Without torch: plans ask."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melange.harness.checkpoints.weight_files import read_json
from melange.harness.engines.fused.checks import can_fuse

if TYPE_CHECKING:
    from melange.harness.recipes.logit_mix import LogitMix

STATES = (
    "state_size",  # Mamba
    "mamba_d_state",  # Jamba, Bamba, Falcon-H1, Zamba
    "ssm_state_size",  # Nemotron-H
    "conv_L_cache",  # LFM2
    "lru_width",  # RecurrentGemma
    "linear_num_key_heads",  # Qwen3-Next
    "linear_attn_config",  # Kimi Linear
)
"""Keys for the state of recurrent layers, which have no keys and values."""


def unfit_member(mix: "LogitMix", folders: Mapping[str, Path | None]) -> str:
    """Why a member of the mix cannot run beside the base; empty if all can, as far as is known.

    The base is vLLM's own; a fused mix has members that tests hold to transformers.
    """
    known = [folder for one in mix.members if (folder := folders[one.role]) is not None]
    if mix.fusible and can_fuse(known):
        return ""
    for member in mix.members[1:]:
        folder = folders[member.role]
        if folder is not None and (reason := _unfit(read_json(folder / "config.json"))):
            return f"{member.role}: {reason}"
    return ""


def _unfit(config: Mapping[str, Any]) -> str:
    text = config.get("text_config") or config
    if state := _recurrent(text):
        return (
            f"has recurrent layers ({state}), whose state the logits processor cannot keep for "
            "each request; use a member with attention alone"
        )
    if any("dynamic" in str(one) for one in _rope_types(text)):
        return (
            "has rope_type=dynamic, which turns a text's keys anew with each token; "
            "use a member with another rope_type"
        )
    return ""


def _recurrent(config: Mapping[str, Any]) -> str:
    """The key that says so; empty for attention alone. Layer by layer, where the config tells."""
    for key in ("layer_types", "layers_block_type"):
        if isinstance(kinds := config.get(key), list):
            others = [one for one in kinds if "attention" not in one or "linear" in one]
            return f"{key}: {others[0]}" if others else ""
    return next((f"{key}={config[key]}" for key in STATES if config.get(key)), "")


def _rope_types(config: Mapping[str, Any]) -> Iterable[Any]:
    """Under each of the names it has had, for all layers or for each kind of them."""
    for name in ("rope_parameters", "rope_scaling"):
        ropes = config.get(name) or {}
        for one in (ropes, *ropes.values()):
            if isinstance(one, Mapping):
                yield one.get("rope_type") or one.get("type")
