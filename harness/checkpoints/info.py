"""The content of a checkpoint folder, read from config.json and file headers alone.

Without torch or tensor data, since plans ask this of every checkpoint.
"""

import shutil
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from pydantic import Field

from melange.harness.checkpoints.configs import (
    common_config,
    context_length,
    read_config,
    text_config,
)
from melange.harness.checkpoints.parameters import idle_parameters, without_buffers
from melange.harness.checkpoints.quantization import num_weights, quantization
from melange.harness.checkpoints.signatures import companions_hash, signature
from melange.harness.checkpoints.tensor_shapes import expected_shapes, kv_width
from melange.harness.checkpoints.vocabularies import vocabulary_hash
from melange.harness.checkpoints.weight_files import (
    TensorHeader,
    read_header,
    weight_files,
)
from melange.harness.errors import HarnessError
from melange.harness.records import LoadFormat, Record

DTYPES = {
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "BF16": ("bfloat16", 2),
    "F16": ("float16", 2),
    "F8_E4M3": ("float8_e4m3fn", 1),
    "F8_E5M2": ("float8_e5m2", 1),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I8": ("int8", 1),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}
FULL_PRECISION = ("F32", "BF16", "F16")
WEIGHT_SUFFIXES = {".safetensors", ".bin", ".pt", ".pth", ".gguf"}


class CheckpointInfo(Record):
    path: Path
    architecture: str
    signature: str
    """Equal for checkpoints that one engine can hold in turn."""
    shapes: dict[str, tuple[int, ...]] = Field(repr=False)
    dtype: str
    """In which an engine computes and holds weights: config.json's; else that of most parameters.

    Files may store less: the pocket zoo's weights are rounded to bfloat16 and computed in float32.
    """
    quantization: str = ""
    """The method and its format; empty for full weights."""
    vocab_size: int
    num_parameters: int
    """Of packed weights, as many as they stand for. Masks and tables in old files are none."""
    num_active_parameters: int
    """Used for one token; fewer than all in a mixture of experts."""
    weights_bytes: int
    """In an engine."""
    kv_bytes_per_token: int
    """With keys and values stored in `dtype`."""
    context_length: int
    """Tokens: the model's own limit, by vLLM's rule."""
    tokenizer: str | None
    """Hash of the vocabulary; None where the folder has no tokenizer."""
    load_format: LoadFormat = "auto"


def inspect(path: Path, dtype: str | None = None) -> CheckpointInfo:
    """Read the folder; the result is cached until a file changes.

    `dtype` is what an engine computes in, where that is not left to config.json.

    Raises:
        HarnessError: the folder or config.json is missing, or a weight file is missing or damaged.
    """
    return _inspect(path, dtype, _stamps(path))


def _stamps(path: Path) -> frozenset[tuple[str, int, int]]:
    """Name, size and time of change of each file; links are followed."""
    if not path.is_dir():
        return frozenset()
    files = [(file.name, file) for file in path.iterdir() if file.is_file()]
    stats = [(name, file.stat()) for name, file in files]
    return frozenset((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


@lru_cache(maxsize=256)
def _inspect(
    path: Path, dtype: str | None, stamps: frozenset[tuple[str, int, int]]
) -> CheckpointInfo:
    config = read_config(path)
    common = common_config(config)
    load_format: LoadFormat = "dummy" if config.get("load_format") == "dummy" else "auto"
    stored = promised_headers(config) if load_format == "dummy" else read_headers(path)
    headers = without_buffers(stored, common)
    shapes = {name: headers[name].shape for name in sorted(headers)}
    dtype, dtype_bytes = compute_dtype({"dtype": dtype} if dtype else config, headers)
    weights = {name: num_weights(name, header, config) for name, header in headers.items()}
    num_parameters = sum(weights.values())
    return CheckpointInfo(
        path=path,
        architecture=config["architectures"][0],
        signature=signature(config, shapes, companions_hash(path)),
        shapes=shapes,
        dtype=dtype,
        quantization=quantization(config),
        vocab_size=common["vocab_size"],
        num_parameters=num_parameters,
        num_active_parameters=num_parameters - idle_parameters(common, shapes, weights),
        weights_bytes=sum(served_bytes(header, dtype_bytes) for header in headers.values()),
        kv_bytes_per_token=common["num_hidden_layers"] * kv_width(common) * dtype_bytes,
        context_length=context_length(common),
        tokenizer=vocabulary_hash(path),
        load_format=load_format,
    )


def read_headers(path: Path) -> dict[str, TensorHeader]:
    files = weight_files(path)
    return {name: header for file in files for name, header in read_header(file).items()}


def promised_headers(config: Mapping[str, Any]) -> dict[str, TensorHeader]:
    """Headers of a complete checkpoint with this config.json, all in the config's dtype."""
    codes = {name: (code, num_bytes) for code, (name, num_bytes) in DTYPES.items()}
    shapes, dtype = expected_shapes(config), config.get("dtype")
    if shapes is None or dtype not in codes:
        raise HarnessError(
            f"{config['architectures'][0]} in {dtype}: its tensors are unknown without its "
            "files; use a shape of Llama or Mixtral with a dtype."
        )
    code, num_bytes = codes[dtype]
    return {
        name: TensorHeader(dtype=code, shape=shape, num_bytes=prod(shape) * num_bytes)
        for name, shape in shapes.items()
    }


def compute_dtype(
    config: Mapping[str, Any], headers: Mapping[str, TensorHeader]
) -> tuple[str, int]:
    """Its name and bytes."""
    text = text_config(config)
    stated = text.get("dtype") or text.get("torch_dtype")
    known = {DTYPES[code][0]: DTYPES[code] for code in FULL_PRECISION}
    return known.get(str(stated)) or most_common_dtype(headers)


def served_bytes(header: TensorHeader, dtype_bytes: int) -> int:
    """Bytes in an engine, which casts all but quantized tensors to the dtype it computes in."""
    return prod(header.shape) * dtype_bytes if header.dtype in FULL_PRECISION else header.num_bytes


def most_common_dtype(headers: Mapping[str, TensorHeader]) -> tuple[str, int]:
    """Its name and bytes, weighed by numbers, of the types that an engine can compute in.

    What is packed into integers computes in the type of its scales.
    """
    weigh: Counter[str] = Counter()
    for header in headers.values():
        if header.dtype in FULL_PRECISION:
            weigh[header.dtype] += prod(header.shape)
    return DTYPES[weigh.most_common(1)[0][0] if weigh else "F32"]


def copy_companions(source: Path, out: Path) -> None:
    """Copy config, tokenizer and generation settings that `out` lacks; no weights."""
    for file in sorted(source.iterdir()):
        is_weight = file.suffix in WEIGHT_SUFFIXES or file.name.endswith(".index.json")
        if file.is_file() and not is_weight and not (out / file.name).exists():
            shutil.copyfile(file, out / file.name)
