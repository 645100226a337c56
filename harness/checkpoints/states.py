"""States (tensors by name) that are checked and written as checkpoints."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from melange.harness.checkpoints.info import copy_companions, inspect
from melange.harness.errors import HarnessError

if TYPE_CHECKING:
    from torch import Tensor


def checked_state(
    name: str, tensors: "Iterable[tuple[str, Tensor]]", like: Path
) -> "dict[str, Tensor]":
    """The state's tensors in the order of the checkpoint `like`, whose shapes they must have.

    Raises:
        HarnessError: a tensor is missing or of another shape, or holds NaN or infinity.
    """
    import torch

    state = dict(tensors)
    shapes = inspect(like).shapes
    for tensor, shape in shapes.items():
        if tensor not in state:
            raise HarnessError(f"{name}: {tensor} is missing in the result; check the recipe.")
        if tuple(state[tensor].shape) != shape:
            raise HarnessError(
                f"{name}: {tensor} is {list(state[tensor].shape)} in the result and {list(shape)} "
                f"in {like}; check the recipe."
            )
        if state[tensor].is_floating_point() and not torch.isfinite(state[tensor]).all():
            raise HarnessError(
                f"{name}: {tensor} holds NaN or infinity; merge with smaller weights or in float32."
            )
    return {tensor: state[tensor] for tensor in shapes}


def write_state(state: "Mapping[str, Tensor]", like: Path, out: Path) -> None:
    """Write a state to the folder `out`, with the configuration and tokenizer of `like`."""
    from huggingface_hub import save_torch_state_dict

    save_torch_state_dict(dict(state), out)
    copy_companions(like, out)
