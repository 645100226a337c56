"""Candidate folders: which models run together, and how their logits are combined.

A folder holds a config.json that names the members' folders, the base's tokenizer, and a weight
file of a few numbers. The members' weights stay where they are. No torch: a plan reads this.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from melange.harness.checkpoints.weight_files import read_json
from melange.harness.engines.fused.checks import check, read_member
from melange.harness.errors import HarnessError
from melange.harness.records import Record

COMPANIONS = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template*",
    "generation_config.json",
)
"""Files that say how text becomes tokens and how to sample; all of them are the base's."""

ARCHITECTURE = "LogitArithmeticForCausalLM"
MODEL_TYPE = "logit_arithmetic"
NUMBERS = "model.safetensors"
"""The coefficients as a tensor, so that vLLM loads and reloads them like a weight."""

Reduction = Literal["logits", "probabilities"]


class FusedFolder(Record):
    """A validated candidate folder."""

    path: Path
    members: tuple[Path, ...]
    """The base first; its tokenizer and vocabulary are the candidate's."""
    configs: tuple[dict[str, Any], ...]
    """Each member's own config.json."""
    coefficients: tuple[float, ...]
    reduction: Reduction
    plausibility: float | None = None
    """Tokens less likely to the base than this share of its best are ruled out; None: none are."""

    @property
    def formula(self) -> str:
        """What an engine fixes when it starts, beside the members' shapes; it reloads the rest."""
        masked = " of plausible tokens" if self.plausibility is not None else ""
        return f"{self.reduction} of {len(self.members)} models{masked}"

    @property
    def context_length(self) -> int:
        """Tokens that every member can read, of which its layers may see a window each."""
        return min(int(config["max_position_embeddings"]) for config in self.configs)


def member_name(index: int) -> str:
    # Not a bare number: vLLM reads a layer's index from the only integer in its dotted name.
    return f"member_{index}"


def write_folder(
    out: Path,
    members: Sequence[Path],
    coefficients: Sequence[float],
    reduction: Reduction = "logits",
    *,
    plausibility: float | None = None,
) -> FusedFolder:
    """Make `out` a folder that vLLM serves as one model; `members` starts with the base.

    `logits` adds up coefficient times logits: [1, alpha, -alpha] of base, expert, anti-expert is
    proxy-tuning. `probabilities` is the mean of the members' softmaxes, weighted.

    Raises:
        HarnessError: the members cannot be combined so, or `out` holds something else.
    """
    _check_free(out)
    folder = FusedFolder(
        path=out.absolute(),
        members=tuple(path.absolute() for path in members),
        configs=tuple(read_member(path) for path in members),
        coefficients=tuple(float(c) for c in coefficients),
        reduction=reduction,
        plausibility=plausibility,
    )
    check(folder)
    out.mkdir(parents=True, exist_ok=True)
    for file in (f for pattern in COMPANIONS for f in sorted(folder.members[0].glob(pattern))):
        shutil.copyfile(file, out / file.name)
    save_file(_numbers(folder), out / NUMBERS, metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(_config(folder), indent=2) + "\n")
    return folder


def read_folder(path: Path) -> FusedFolder:
    """
    Raises:
        HarnessError: a member is gone or does not fit, or the numbers are not those written.
    """
    content = read_json(path / "config.json")
    try:
        members = [path / member["path"] for member in content["members"]]
        folder = FusedFolder(
            path=path.absolute(),
            members=tuple(member.absolute() for member in members),
            configs=tuple(member["config"] for member in content["members"]),
            coefficients=tuple(content["coefficients"]),
            reduction=content["reduction"],
            plausibility=content.get("plausibility"),
        )
    except (KeyError, TypeError, ValueError):
        raise HarnessError(
            f"{path / 'config.json'}: describes no logit arithmetic; export the candidate again."
        ) from None
    _check_unchanged(folder)
    check(folder)
    return folder


def is_fused(path: Path) -> bool:
    """Whether the folder is one of ours, as opposed to a checkpoint."""
    file = path / "config.json"
    return file.is_file() and read_json(file).get("model_type") == MODEL_TYPE


def _config(folder: FusedFolder) -> dict[str, Any]:
    """config.json. Where vLLM wants one number for the whole, it is the base's or a sum."""
    base = folder.configs[0]
    return {
        "architectures": [ARCHITECTURE],
        "model_type": MODEL_TYPE,
        "reduction": folder.reduction,
        "coefficients": list(folder.coefficients),
        "plausibility": folder.plausibility,
        "members": [
            {"path": _stored(path, folder.path), "config": config}
            for path, config in zip(folder.members, folder.configs, strict=True)
        ],
        "dtype": base.get("dtype") or base.get("torch_dtype"),
        "vocab_size": base["vocab_size"],
        "max_position_embeddings": folder.context_length,
        # The width of what `forward` returns: the members' hidden states side by side.
        "hidden_size": sum(config["hidden_size"] for config in folder.configs),
        "num_hidden_layers": sum(config["num_hidden_layers"] for config in folder.configs),
        "num_attention_heads": base["num_attention_heads"],
        "num_key_value_heads": base.get("num_key_value_heads") or base["num_attention_heads"],
        "head_dim": base.get("head_dim") or base["hidden_size"] // base["num_attention_heads"],
        # vLLM sets up what mixtures of experts need if the whole claims to be one.
        "num_local_experts": max(config.get("num_local_experts") or 0 for config in folder.configs),
        "tie_word_embeddings": False,
        **{key: base.get(key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")},
    }


def _stored(member: Path, out: Path) -> str:
    """Members inside the folder move with it; others are named in full."""
    return str(member.relative_to(out) if member.is_relative_to(out) else member)


def _numbers(folder: FusedFolder) -> dict[str, np.ndarray[Any, Any]]:
    numbers = {"coefficients": np.array(folder.coefficients, dtype=np.float32)}
    if folder.plausibility is not None:
        numbers["plausibility"] = np.array([folder.plausibility], dtype=np.float32)
    return numbers


def _check_free(out: Path) -> None:
    """A folder that is not ours may hold the only copy of someone's weights."""
    if out.exists() and not is_fused(out) and (not out.is_dir() or any(out.iterdir())):
        raise HarnessError(f"{out}: is not empty; name a new folder.")


def _check_unchanged(folder: FusedFolder) -> None:
    """config.json repeats what others hold: the members, and the numbers that vLLM loads."""
    for member, config in zip(folder.members, folder.configs, strict=True):
        if read_member(member) != config:
            raise HarnessError(
                f"{member}: has another config.json than when {folder.path} was written; "
                "export the candidate again."
            )
    expected = _numbers(folder)
    try:
        found = load_file(folder.path / NUMBERS)
    except (OSError, SafetensorError):
        found = {}
    if found.keys() != expected.keys() or any(
        not np.array_equal(found[name], expected[name]) for name in expected
    ):
        raise HarnessError(
            f"{folder.path / NUMBERS}: holds other numbers than config.json; "
            "export the candidate again instead of editing it."
        )
