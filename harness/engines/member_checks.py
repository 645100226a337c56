"""Which small models the logits processor runs as they are meant to run. No torch: plans ask."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.engines.fused.checks import can_fuse, read_json
from harness.records import LogitMix

OF_LOGITS = ("logits_scaling", "logit_scale", "final_logit_softcapping")
"""What a model does to its logits behind its head, which the processor leaves out."""


def unfit_member(mix: LogitMix, folders: Mapping[str, Path | None]) -> str:
    """Why a member of the mix would be scored wrongly; empty where none would, or nobody knows yet.

    The base is vLLM's own; a fused mix has members that tests hold to transformers.
    """
    known = [folder for one in mix.members if (folder := folders[one.role]) is not None]
    if mix.fusible and can_fuse(known):
        return ""
    for member in mix.members[1:]:
        folder = folders[member.role]
        if folder is not None and (reason := _unfit(read_json(folder / "config.json"))):
            return f"{member.role}: {reason}, which the logits processor leaves out"
    return ""


def _unfit(config: Mapping[str, Any]) -> str:
    for key in OF_LOGITS:
        if config.get(key) not in (None, 1, 0):
            return f"its config.json has {key}={config[key]}"
    window = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    length = config.get("max_position_embeddings")
    if window and length and window < length:
        return f"it attends to the last {window} of {length} tokens in some layers"
    return ""
