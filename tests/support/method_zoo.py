"""Candidates of single entries, and the checkpoints that methods build."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM
from zoo_of_folders import candidates_of, made

from melange.harness.checkpoints.info import inspect
from melange.harness.checkpoints.tensors import read_tensors
from melange.harness.records import Candidate

ROLES = (
    "small_base",
    "small_mix",
    "large_base",
    "large_base@100",
    "large_base@200",
    "large_base@300",
    "large_knowledge",
    "large_arithmetic",
    "large_instructions",
    "mixture_native",
)
TUNED = ("large_knowledge", "large_arithmetic", "large_instructions")
WHERE = "tasks/suites/test.yaml"


def one(entry: Mapping[str, Any]) -> Candidate:
    (candidate,) = candidates_of([entry], ROLES, where=WHERE)
    return candidate


def built(entry: Mapping[str, Any], zoo: Mapping[str, Path], **replaced: Path) -> Path:
    folders = {**zoo, **replaced}
    return made(one(entry), folders, {role: str(path) for role, path in folders.items()})


def weights(path: Path) -> dict[str, Tensor]:
    return read_tensors(path, inspect(path).shapes)


def logits(path: Path) -> Tensor:
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    with torch.inference_mode():
        return model(torch.arange(20).reshape(2, 10)).logits


def copies(path: Path, out: Path, roles: tuple[str, ...]) -> dict[str, Path]:
    """Copies of a checkpoint for several roles, in separate folders."""
    folders = {}
    for role in roles:
        folders[role] = out / role
        folders[role].mkdir(parents=True)
        for file in path.iterdir():
            (folders[role] / file.name).write_bytes(file.read_bytes())
    return folders
