"""A candidate's tensors by the names that the fused model loads them under."""

import json
from collections.abc import Iterator
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from melange.harness.engines.fused.folder import NUMBERS, FusedFolder, member_name, read_folder
from melange.harness.errors import HarnessError

INDEX = "model.safetensors.index.json"


def iterate_weights(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a candidate folder: its numbers, then each member's under its name.

    For `reload_weights(weights_iterator=...)` in this process; across processes name the folder
    with `weights_path=`, which loads the same.

    Raises:
        HarnessError: at once, and not on the first tensor: an engine that broke off in the middle
            of a reload is lost.
    """
    folder = read_folder(path)
    files = [(f"{name}.", file) for name, file in _files(folder)]
    return _iterate([("", folder.path / NUMBERS), *files])


def _iterate(files: list[tuple[str, Path]]) -> Iterator[tuple[str, Tensor]]:
    for prefix, file in files:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (it is no mapping)
                yield prefix + name, tensors.get_tensor(name)


def _files(folder: FusedFolder) -> Iterator[tuple[str, Path]]:
    for index, member in enumerate(folder.members):
        for file in _weight_files(member):
            yield member_name(index), file


def _weight_files(path: Path) -> list[Path]:
    if not (path / INDEX).is_file():
        return sorted(path.glob("*.safetensors"))
    names = sorted(set(json.loads((path / INDEX).read_text())["weight_map"].values()))
    for name in names:
        if not (path / name).is_file():
            raise HarnessError(f"{path / INDEX}: names {name}, which is not there; fetch it.")
    return [path / name for name in names]
