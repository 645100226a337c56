"""What a checkpoint folder holds, read from config.json and file headers alone.

No torch, no tensor data: a plan asks this of every checkpoint before anything starts.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from pydantic import Field

from baselines.configs import common_config, context_length, read_config, text_config
from baselines.layouts import Shapes, expected_shapes, kv_width
from baselines.parameters import idle_parameters, without_buffers
from baselines.quantization import num_weights, quantization
from baselines.signatures import companions_hash, signature
from baselines.weight_files import TensorHeader, read_header, read_json, weight_files
from harness.errors import HarnessError
from harness.records import LoadFormat, Record

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
LABELLING = ("ForMaskedLM", "Classification", "ForQuestionAnswering", "ForMultipleChoice")
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
    """What the folder holds; `dtype` is what an engine computes in, where that is not left to it.

    Raises:
        HarnessError: the folder or config.json is missing, or a weight file is missing or damaged.
    """
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
        tokenizer=tokenizer_fingerprint(path),
        load_format=load_format,
    )


def read_headers(path: Path) -> dict[str, TensorHeader]:
    files = weight_files(path)
    return {name: header for file in files for name, header in read_header(file).items()}


def promised_headers(config: Mapping[str, Any]) -> dict[str, TensorHeader]:
    """What a whole checkpoint of this config.json holds, all of it in the config's dtype."""
    codes = {name: (code, num_bytes) for code, (name, num_bytes) in DTYPES.items()}
    shapes, dtype = expected_shapes(config), config.get("dtype")
    if shapes is None or dtype not in codes:
        raise HarnessError(
            f"{config['architectures'][0]} in {dtype}: nobody knows its tensors without their "
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
    """An engine casts what is no quantized tensor to the type that it computes in."""
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


def read_vocabulary(path: Path) -> dict[str, int] | None:
    """Token to id, added tokens included; None where there is no tokenizer.json."""
    if not (path / "tokenizer.json").is_file():
        return None
    content = read_json(path / "tokenizer.json")
    vocabulary = content.get("model", {}).get("vocab", {})
    if isinstance(vocabulary, list):  # Unigram models list [token, score].
        vocabulary = {token: index for index, (token, _) in enumerate(vocabulary)}
    return vocabulary | {token["content"]: token["id"] for token in content.get("added_tokens", [])}


def tokenizer_fingerprint(path: Path) -> str | None:
    vocabulary = read_vocabulary(path)
    if vocabulary is not None:
        content = json.dumps(sorted(vocabulary.items())).encode()
    elif (path / "tokenizer.model").is_file():
        content = (path / "tokenizer.model").read_bytes()
    else:
        return None
    return hashlib.sha256(content).hexdigest()[:16]


def check_generates(info: CheckpointInfo) -> None:
    """
    Raises:
        HarnessError: the model labels or embeds texts, and continues none.
    """
    if info.architecture.endswith(LABELLING):
        raise HarnessError(
            f"{info.path}: {info.architecture} continues no text; use the checkpoint of a language "
            "model, such as LlamaForCausalLM."
        )


def check_full_weights(info: CheckpointInfo) -> None:
    """
    Raises:
        HarnessError: the weights are packed, so that no arithmetic on them makes sense.
    """
    if info.quantization:
        raise HarnessError(
            f"{info.path}: is quantized ({info.quantization}); combine the full weights that it "
            "was made from."
        )


def check_alike(infos: Sequence[CheckpointInfo]) -> None:
    """
    Raises:
        HarnessError: the weights of one cannot be combined with the first one's.
    """
    for info in infos:
        check_full_weights(info)
    for other in infos[1:]:
        check_compatible(infos[0], other)


def check_compatible(base: CheckpointInfo, other: CheckpointInfo) -> None:
    """
    Raises:
        HarnessError: the weights of the two cannot be combined tensor by tensor.
    """
    if other.vocab_size != base.vocab_size:
        raise HarnessError(
            f"{other.path}: {other.vocab_size} tokens in the vocabulary, {base.path} has "
            f"{base.vocab_size}; combine models that share a tokenizer."
        )
    if base.tokenizer and other.tokenizer and other.tokenizer != base.tokenizer:
        raise HarnessError(
            f"{other.path}: other tokens than {base.path}, though as many; "
            "combine models that share a tokenizer."
        )
    if other.architecture != base.architecture:
        raise HarnessError(
            f"{other.path}: {other.architecture}, but {base.path} is {base.architecture}; "
            "combine models of one architecture."
        )
    if other.shapes != base.shapes:
        raise HarnessError(
            f"{other.path}: {first_difference(base.shapes, other.shapes)} in {base.path}; "
            "combine models of one shape."
        )


def first_difference(expected: Shapes, found: Shapes) -> str:
    """The first tensor that differs, as `NAME is [2, 3], but [2, 4]`."""
    name = min(name for name in expected | found if expected.get(name) != found.get(name))
    here = f"is {list(found[name])}" if name in found else "is missing"
    there = str(list(expected[name])) if name in expected else "none"
    return f"{name} {here}, but {there}"


def check_vocabulary(base: Path, expert: Path) -> None:
    """The base's tokens must have the same ids in the expert, which may have more behind them.

    Raises:
        HarnessError: the logits of the two cannot be combined.
    """
    ours, theirs = read_vocabulary(base), read_vocabulary(expert)
    if ours is None or theirs is None:
        if tokenizer_fingerprint(base) == tokenizer_fingerprint(expert):
            return
        raise HarnessError(f"{expert}: cannot compare tokens with {base}; add tokenizer.json.")
    moved = [token for token, index in ours.items() if theirs.get(token) != index]
    if moved:
        raise HarnessError(
            f"{expert}: {len(moved)} of the {len(ours)} tokens of {base} have other ids, "
            f"{moved[0]!r} among them; use small models with the base's tokenizer."
        )


def copy_companions(source: Path, out: Path) -> None:
    """Copy config, tokenizer and generation settings, where `out` lacks them; weights stay."""
    for file in sorted(source.iterdir()):
        is_weight = file.suffix in WEIGHT_SUFFIXES or file.name.endswith(".index.json")
        if file.is_file() and not is_weight and not (out / file.name).exists():
            shutil.copyfile(file, out / file.name)
