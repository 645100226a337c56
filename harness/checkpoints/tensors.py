"""Tensors of a checkpoint folder, read one weight file at a time. Imports torch."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from melange.harness.checkpoints.weight_files import read_header, weight_files

State = dict[str, Tensor]


def tensor_names(path: Path) -> dict[Path, list[str]]:
    """The names in each weight file."""
    return {file: sorted(read_header(file)) for file in weight_files(path)}


def read_tensors(path: Path, names: Iterable[str]) -> State:
    """These tensors of a checkpoint, copied into memory."""
    wanted = set(names)
    state: State = {}
    for file, available in tensor_names(path).items():
        with safe_open(file, framework="pt") as tensors:
            state |= {name: tensors.get_tensor(name) for name in available if name in wanted}
    return state


def iterate_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Every tensor, one at a time."""
    for file, names in tensor_names(path).items():
        with safe_open(file, framework="pt") as tensors:
            for name in names:
                yield name, tensors.get_tensor(name)


def first_non_finite(path: Path) -> str | None:
    """Name of a tensor that holds NaN or infinity; None if all are numbers."""
    for name, tensor in iterate_tensors(path):
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            return name
    return None
