"""Averages of model states, streamed: memory holds one running average and one state.

Computed in float32 whatever the states' dtype: bfloat16 would lose small differences.
"""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

State = Mapping[str, Tensor]


def uniform_average(states: Iterable[State]) -> dict[str, Tensor]:
    """Mean of the states, in float32. Source: https://arxiv.org/abs/1803.05407 (SWA)."""
    return running_average(states, weight=lambda count: 1 / count)


def exponential_average(states: Iterable[State], decay: float) -> dict[str, Tensor]:
    """w <- decay * w + (1 - decay) * state, from the first state on; 0 <= decay < 1.

    Result of n states: decay^(n-1) * s_1 + sum over i > 1 of (1-decay) * decay^(n-i) * s_i.
    """
    return running_average(states, weight=lambda count: 1 - decay)


def running_average(
    states: Iterable[State], *, weight: Callable[[int], float]
) -> dict[str, Tensor]:
    """Move the average by weight(count) towards each further state; count is 2 at the second.

    In this form equal states give that state exactly. Integer tensors are taken from the last one.
    """
    average: dict[str, Tensor] = {}
    for count, state in enumerate(states, start=1):
        for name, tensor in state.items():
            if count == 1 or not tensor.is_floating_point():
                average[name] = tensor.float() if tensor.is_floating_point() else tensor
            else:
                average[name] = average[name] + weight(count) * (tensor.float() - average[name])
    assert average, "no states to average"
    return average


def in_dtype(state: State, dtype: str) -> dict[str, Tensor]:
    """Floating-point tensors as `dtype`, the others as they are."""
    wanted = getattr(torch, dtype)
    return {
        name: tensor.to(wanted) if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
