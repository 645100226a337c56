"""Averages and mixtures by their formulas, over whole models of transformers.

Shape letters: E experts, F the feed-forward block's width, D the model's width.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from melange.harness.check.models import Made, Model, UncheckableError, computed_in, load_model
from melange.harness.check.subject import Subject

if TYPE_CHECKING:
    from melange.harness.recipes.weights import Weights

Values = dict[str, Tensor]


def uniform(recipe: "Weights", subject: Subject, scratch: Path, device: str) -> Made:
    count = len(recipe.inputs)
    return _average(recipe, subject, device, [1 / count] * count)


def exponential(recipe: "Weights", subject: Subject, scratch: Path, device: str) -> Made:
    """Weights: decay^(n-1) for the first, (1 - decay) * decay^(n-i) for the i-th."""
    decay, count = float(recipe.options["decay"]), len(recipe.inputs)
    later = [(1 - decay) * decay ** (count - i) for i in range(2, count + 1)]
    return _average(recipe, subject, device, [decay ** (count - 1), *later])


def mixture(recipe: "Weights", subject: Subject, scratch: Path, device: str) -> Made:
    """A Mixtral with the inputs' own experts and shared parts, and the config and router of the
    folder that was built."""
    if subject.built is None:
        raise UncheckableError("no folder was built for it, and only that has its router")
    options = recipe.options
    experts = [subject.folder(one["role"]) for one in options["experts"]]
    of_base = options["shared"] == "base"
    shared = [subject.folder(options["base"])] if of_base else experts
    model = load_model(subject.built, device=device)
    values = mean(shared, [1 / len(shared)] * len(shared), device)
    blocks = [dict(load_model(one, device=device).named_parameters()) for one in experts]
    kept = computed_in(subject.built)
    _fill(model, lambda name: _of_mixture(name, values, blocks), kept)
    return Made(model, subject.built, "its inputs, with the router that was built")


def _of_mixture(name: str, shared: Values, blocks: Sequence[Values]) -> Tensor | None:
    """A parameter of the mixture from its inputs; None for the router."""
    layer, _, part = name.partition(".mlp.")
    if part == "experts.gate_up_proj":  # [E, 2F, D]
        return torch.stack([
            torch.cat([one[f"{layer}.mlp.{side}_proj.weight"] for side in ("gate", "up")])
            for one in blocks
        ])  # fmt: skip
    if part == "experts.down_proj":  # [E, D, F]
        return torch.stack([one[f"{layer}.mlp.down_proj.weight"] for one in blocks])
    return None if part.startswith("gate.") else shared[name]


def _average(recipe: "Weights", subject: Subject, device: str, weights: Sequence[float]) -> Made:
    folders = [subject.folder(role) for role in recipe.inputs]
    values = mean(folders, weights, device)
    model = load_model(folders[-1], device=device)
    _fill(model, values.__getitem__, computed_in(folders[-1]))
    return Made(model, folders[-1], "the formula over its inputs")


def mean(folders: Sequence[Path], weights: Sequence[float], device: str) -> Values:
    """The weighted sum of the models' parameters, in float32."""
    total: Values = {}
    for folder, weight in zip(folders, weights, strict=True):
        for name, value in load_model(folder, device=device).named_parameters():
            part = value.detach().float() * weight
            total[name] = total[name] + part if name in total else part
    return total


def _fill(model: Model, value_of: Callable[[str], Tensor | None], dtype: torch.dtype) -> None:
    """Replace the parameters by values rounded to the dtype that the model computes in."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if (value := value_of(name)) is not None:
                parameter.copy_(value.to(dtype))
