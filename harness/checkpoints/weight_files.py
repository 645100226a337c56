"""The safetensors files of a checkpoint folder, and their headers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from melange.harness.errors import HarnessError
from melange.harness.records import Record

INDEX = "model.safetensors.index.json"


class TensorHeader(Record):
    dtype: str
    shape: tuple[int, ...]
    num_bytes: int


def weight_files(path: Path) -> list[Path]:
    """The safetensors files of a checkpoint, one or sharded.

    Raises:
        HarnessError: there are none, or the index names one that is not there.
    """
    if (path / "model.safetensors").is_file():
        return [path / "model.safetensors"]
    if (path / INDEX).is_file():
        files = sorted({path / name for name in read_json(path / INDEX)["weight_map"].values()})
        for file in files:
            if not file.is_file():
                raise HarnessError(
                    f"{path / INDEX}: names {file.name}, which is not there; "
                    "fetch the missing file or build the checkpoint again."
                )
        return files
    raise HarnessError(f"{path}: has no model.safetensors and no {INDEX}; convert its weights.")


def stored_names(path: Path | str) -> set[str]:
    """Names of all tensors of a checkpoint."""
    return {name for file in weight_files(Path(path)) for name in read_header(file)}


def read_header(file: Path) -> dict[str, TensorHeader]:
    """Tensors of a safetensors file, without their data.

    Raises:
        HarnessError: the file is shorter than its header says, or has none.

    Source: https://github.com/huggingface/safetensors#format
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        header_bytes = int.from_bytes(stream.read(8), "little")
        if size < 8 + header_bytes:
            raise truncated(file, 8 + header_bytes, size)
        try:
            entries = json.loads(stream.read(header_bytes))
            entries.pop("__metadata__", None)
            headers = {name: tensor_header(entry) for name, entry in entries.items()}
            ends = [entry["data_offsets"][1] for entry in entries.values()]
        except (ValueError, AttributeError, TypeError, KeyError):
            raise HarnessError(
                f"{file}: has no safetensors header; fetch or build the checkpoint again."
            ) from None
    needed = 8 + header_bytes + max(ends, default=0)
    if size < needed:
        raise truncated(file, needed, size)
    return headers


def tensor_header(entry: Mapping[str, Any]) -> TensorHeader:
    begin, end = entry["data_offsets"]
    return TensorHeader(dtype=entry["dtype"], shape=tuple(entry["shape"]), num_bytes=end - begin)


def truncated(file: Path, needed: int, size: int) -> HarnessError:
    return HarnessError(
        f"{file}: truncated, {size} bytes of {needed}; fetch or build the checkpoint again."
    )


def read_json(file: Path) -> dict[str, Any]:
    """
    Raises:
        HarnessError: there is no such file, or it holds no object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise HarnessError(f"{file}: cannot be read; name a checkpoint's folder.") from None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise HarnessError(f"{file}: is not a JSON object; fetch or build the checkpoint again.")
    return content
