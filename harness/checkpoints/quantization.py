"""Quantized checkpoints: which method, what their tensors stand for, and where they run."""

from collections.abc import Mapping
from math import prod
from typing import Any

from melange.harness.checkpoints.weight_files import TensorHeader

PACKED_SUFFIXES = (".qweight", ".weight_packed")
"""GPTQ's and AWQ's, and compressed-tensors': several weights in each 32-bit word."""
BLOCKS_SUFFIX = "_blocks"
"""MXFP4, as GPT-OSS has it: two weights in each byte."""
AIDS = (
    "scales", "qzeros", "g_idx", "weight_scale", "weight_scale_inv", "weight_zero_point",
    "weight_shape", "weight_g_idx", "weight_global_scale", "input_scale", "input_global_scale",
    "k_scale", "v_scale", "input_zero_point", "scale",
)  # fmt: skip
"""Suffixes of tensors that say how to unpack others."""
ON_CPU = {
    "gptq": (),
    "awq": (),
    "compressed-tensors": ("pack-quantized", "int-quantized"),
}
"""Methods that vLLM's CPU build runs, with the formats that it runs; empty: all."""
HALF = ("bfloat16", "float16")


def quantization_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Empty for full weights; a multimodal folder may keep it with its language model."""
    inner = config.get("text_config") or {}
    found = config.get("quantization_config") or config.get("compression_config")
    return dict(found or inner.get("quantization_config") or {})


def quantization(config: Mapping[str, Any]) -> str:
    """The method and its format, such as `gptq` or `compressed-tensors pack-quantized`; empty for
    full weights."""
    found = quantization_config(config)
    if not found:
        return ""
    method = str(found.get("quant_method") or "an unnamed method").lower().replace("_", "-")
    return " ".join(part for part in (method, str(found.get("format") or "")) if part)


def num_weights(name: str, header: TensorHeader, config: Mapping[str, Any]) -> int:
    """Number of parameters that a stored tensor stands for, after unpacking."""
    stored = prod(header.shape)
    settings = quantization_config(config)
    if not settings:
        return stored
    if name.endswith(PACKED_SUFFIXES):
        return header.num_bytes * 8 // num_bits(settings)
    if name.endswith(BLOCKS_SUFFIX):
        return 2 * stored
    is_aid = name.rpartition(".")[2] in AIDS or name.endswith("_scales")
    return 0 if is_aid else stored


def num_bits(settings: Mapping[str, Any]) -> int:
    """Bits of a packed weight."""
    groups = settings.get("config_groups") or {}
    weights = [(group.get("weights") or {}).get("num_bits") for group in groups.values()]
    return int(settings.get("bits") or settings.get("w_bit") or next(filter(None, weights), 4))


def unserved(kind: str, dtype: str, device: str) -> str:
    """Why vLLM does not serve such quantized weights in this dtype; empty if it does.

    On a CPU, other methods are not there at all, and fp8 falls to a product that takes minutes a
    step.
    """
    if not kind or device != "cpu":
        return ""
    method, _, form = kind.partition(" ")
    formats = ON_CPU.get(method)
    if formats is None or (formats and form not in formats):
        return (
            f"its weights are quantized by {kind}, which a CPU does not run; use GPTQ, AWQ or "
            "int8 or int4 compressed-tensors, or full weights"
        )
    if dtype not in HALF:
        return (
            f"its weights are quantized by {kind}, which a CPU runs in bfloat16 and not in "
            f"{dtype}; ask for dtype bfloat16"
        )
    return ""
