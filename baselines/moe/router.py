"""Router weights without training. Imports torch and transformers.

L layers, E experts, D the model's width, T tokens of a prompt.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer


def uniform_router(num_layers: int, num_experts: int, width: int) -> Tensor:
    """All zero: every expert scores alike. Ties go to the first experts, so k of E serve alone."""
    return torch.zeros(num_layers, num_experts, width)


def random_router(num_layers: int, num_experts: int, width: int, *, seed: int) -> Tensor:
    """Random directions of the length that `hidden_router` gives its rows."""
    generator = torch.Generator().manual_seed(seed)
    return unit_rows(torch.randn(num_layers, num_experts, width, generator=generator))


def hidden_router(
    base: Path, positive: Sequence[Sequence[str]], negative: Sequence[Sequence[str]]
) -> Tensor:
    """Rows [L, E, D] of unit length: the directions of an expert's prompts in the router's input.

    Row i is the mean input of the base's feed-forward block over the positive prompts of expert i,
    less that over its negative ones. mergekit-moe's `hidden` mode takes the residual stream before
    each layer at the last token instead; a router reads the normalised input at every token.
    """
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    rows = []
    for wanted, unwanted in zip(positive, negative, strict=True):
        row_LD = mean_states(model, tokenizer, wanted)
        if unwanted:
            row_LD = row_LD - mean_states(model, tokenizer, unwanted)
        rows.append(unit_rows(row_LD))
    return torch.stack(rows, dim=1)


def mean_states(model: Any, tokenizer: Any, prompts: Sequence[str]) -> Tensor:
    """[L, D]: mean over prompts of the mean over their tokens. Prompts run alone: no padding."""
    means = []
    for prompt in prompts:
        with recorded_inputs(model) as states, torch.inference_mode():
            model(**tokenizer(prompt, return_tensors="pt", return_token_type_ids=False))
        means.append(torch.stack([state_1TD[0].mean(dim=0) for state_1TD in states]))
    return torch.stack(means).mean(dim=0)


@contextmanager
def recorded_inputs(model: Any) -> Iterator[list[Tensor]]:
    """The inputs of each layer's feed-forward block, in order."""
    states: list[Tensor] = []
    hooks = [
        layer.mlp.register_forward_pre_hook(lambda module, inputs: states.append(inputs[0]))
        for layer in model.model.layers
    ]
    try:
        yield states
    finally:
        for hook in hooks:
            hook.remove()


def unit_rows(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=-1, keepdim=True).clamp(min=1e-8)
