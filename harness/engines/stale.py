"""Finds what a reload has left unchanged.

vLLM reloads layer by layer: it sets a layer's tensors aside, collects the new values through the
parameters' loaders, and copies them into place. If a model bypasses a parameter's loader (GPT-OSS
does, for sinks and experts), its values are thrown away and the old ones stay; vLLM at most logs
that. So all that a reload has to write is spoilt before it, and checked after it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

PACKED = "cpu_linear"
"""Attribute of a linear layer on a CPU: a function that holds a packed copy of the weights. Its
`weight` is empty then."""


@contextmanager
def filled_memory() -> Iterator[None]:
    """New tensors hold NaN (integers their maximum), as the spoilt ones do, until written.

    If vLLM loads only part of a layer, it allocates all of it; the rest would be arbitrary memory.
    """
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@torch.no_grad()
def spoil(model: nn.Module) -> None:
    """Fill every parameter and packed copy with values that no checkpoint has.

    Not buffers: most are computed from the config and are in no checkpoint.
    """
    for parameter in model.parameters():
        if _is_number(parameter):
            parameter.fill_(_mark(parameter))
    for module in model.modules():
        if hasattr(module, PACKED):
            setattr(module, PACKED, _spoilt)


@torch.no_grad()
def spoilt(model: nn.Module) -> list[str]:
    """Names of the parameters that are still spoilt, in whole or in part."""
    named = [name for name, one in model.named_parameters() if _is_number(one) and _is_marked(one)]
    packed = [
        f"{name}.{PACKED}"
        for name, module in model.named_modules()
        if getattr(module, PACKED, None) is _spoilt
    ]
    return named + packed


def _spoilt(*args: object) -> Tensor:
    raise AssertionError("a layer was not loaded")


def _is_number(tensor: Tensor) -> bool:
    return tensor.numel() > 0 and tensor.dtype != torch.bool and not tensor.is_complex()


def _mark(tensor: Tensor) -> float | int:
    return float("nan") if tensor.is_floating_point() else torch.iinfo(tensor.dtype).max


def _is_marked(tensor: Tensor) -> bool:
    """Whether numbers hold a NaN; whether integers, which may be anything, are all marked."""
    if not tensor.is_floating_point():
        return bool((tensor == _mark(tensor)).all())
    if (
        tensor.element_size() == 1
    ):  # torch cannot compute with 8-bit floats; this finds fully marked ones
        whole = torch.full_like(tensor, _mark(tensor))
        return torch.equal(tensor.view(torch.uint8), whole.view(torch.uint8))
    return bool(tensor.sum(dtype=torch.float32).isnan()) and bool(tensor.isnan().any())
