"""vLLM's own CPU kernels for norms and SwiGLU, which vLLM 0.32 leaves unused on x86.

It computes them from single torch operations instead: a tenth of a small model's decoding step.
"""

from typing import Any

import torch
from torch import Tensor

PROVIDER = "cpu_c"
"""Name of these implementations in vLLM's lists."""
KERNELS = ("rms_norm", "fused_add_rms_norm", "silu_and_mul")


def use_cpu_kernels() -> dict[str, Any]:
    """Options for `LLM` with which its engine uses the kernels, where this vLLM has them."""
    from vllm import ir
    from vllm.model_executor.layers.activation import SiluAndMul
    from vllm.platforms import current_platform

    current_platform.import_kernels()
    if not all(hasattr(torch.ops._C, name) for name in KERNELS):
        return {}
    if PROVIDER not in ir.ops.rms_norm.impls:
        ir.ops.rms_norm.register_impl(PROVIDER, supports_args=_fits_norm)(_rms_norm)
        ir.ops.fused_add_rms_norm.register_impl(
            PROVIDER, supports_args=_fits_add_norm, inplace=True
        )(_fused_add_rms_norm)
        # vLLM builds the class registered under a layer's name in its place.
        SiluAndMul.register_oot(_swiglu(SiluAndMul), name="SiluAndMul")
    priority = [PROVIDER, "native"]
    return {"ir_op_priority": {"rms_norm": priority, "fused_add_rms_norm": priority}}


def _rms_norm(
    x: Tensor, weight: Tensor | None, epsilon: float, variance_size: int | None = None
) -> Tensor:
    normed = torch.empty_like(x)
    torch.ops._C.rms_norm(normed, x, weight, epsilon)
    return normed


def _fits_norm(
    x: Tensor, weight: Tensor | None, epsilon: float, variance_size: int | None = None
) -> bool:
    return _plain(x, weight, variance_size)


def _fused_add_rms_norm(
    x: Tensor,
    x_residual: Tensor,
    weight: Tensor | None,
    epsilon: float,
    variance_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    torch.ops._C.fused_add_rms_norm(x, x_residual, weight, epsilon)
    return x, x_residual


def _fits_add_norm(
    x: Tensor,
    x_residual: Tensor,
    weight: Tensor | None,
    epsilon: float,
    variance_size: int | None = None,
) -> bool:
    return _plain(x, weight, variance_size) and x_residual.is_contiguous()


def _plain(x: Tensor, weight: Tensor | None, variance_size: int | None) -> bool:
    """What the kernels take: whole rows one after the other, a weight of their type."""
    fits = weight is not None and weight.dtype == x.dtype
    return fits and variance_size is None and x.is_contiguous()


def _swiglu(layer: Any) -> Any:
    class SwiGLU(layer):
        def forward_cpu(self, x: Tensor) -> Tensor:
            half = x.shape[-1] // 2
            out = torch.empty(*x.shape[:-1], half, dtype=x.dtype)
            torch.ops._C.silu_and_mul(out, x)
            return out

    return SwiGLU
