"""A Mixtral whose experts are the feed-forward blocks of tuned models, without training.

Sources: mergekit-moe, https://arxiv.org/abs/2403.13257; Mixtral, https://arxiv.org/abs/2401.04088;
averaged shared parts as in Branch-Train-MiX, https://arxiv.org/abs/2403.07816.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from melange.harness.checkpoints.configs import read_config
from melange.harness.checkpoints.fit import check_alike
from melange.harness.checkpoints.info import copy_companions, inspect
from melange.harness.errors import HarnessError
from melange.harness.recipes.weights import Weights
from melange.harness.records import Candidate, Record

if TYPE_CHECKING:
    from torch import Tensor

DENSE = {"LlamaForCausalLM", "MistralForCausalLM"}


class Expert(Record):
    role: str
    prompts: tuple[str, ...] = ()
    """Texts that this expert should serve."""
    negative_prompts: tuple[str, ...] = ()


class MoeOptions(Record):
    base: str
    experts: tuple[Expert, ...] = Field(min_length=2)
    experts_per_token: int = Field(default=2, ge=1)
    gate_mode: Literal["hidden", "random", "uniform"] = "hidden"
    shared: Literal["base", "average"] = "base"
    """Where attention, embeddings and norms come from.

    `base`, as mergekit-moe has it: then the router reads what it was made from, and with equal
    experts the base comes out. `average` takes the mean of the experts, as Branch-Train-MiX does.
    """
    seed: int = 0
    name: str | None = None

    @model_validator(mode="after")
    def is_complete(self) -> "MoeOptions":
        if self.experts_per_token > len(self.experts):
            raise ValueError(
                f"experts_per_token={self.experts_per_token} of {len(self.experts)} experts; "
                "use at most as many as there are"
            )
        silent = [expert.role for expert in self.experts if not expert.prompts]
        if self.gate_mode == "hidden" and silent:
            raise ValueError(
                f"gate_mode=hidden needs prompts for {', '.join(silent)}; "
                "add prompts: [...], or use gate_mode: random or uniform"
            )
        return self


class Moe:
    name = "moe"
    family = "moe"
    source = "https://arxiv.org/abs/2403.13257"
    options = MoeOptions
    architecture = "MixtralForCausalLM"

    def candidates(self, options: MoeOptions, roles: Sequence[str]) -> Iterator[Candidate]:
        experts = [expert.role for expert in options.experts]
        recipe = Weights(
            method=self.name,
            inputs=tuple(dict.fromkeys([options.base, *experts])),
            options=options.model_dump(mode="json", exclude={"name"}),
        )
        parts = ["moe", options.gate_mode, *(["average"] if options.shared == "average" else [])]
        yield Candidate(
            name=options.name or "-".join(parts),
            family=self.family,
            recipe=recipe,
            summary=f"{len(experts)} experts, {options.experts_per_token} a token, "
            f"{options.gate_mode} router, shared parts of the {options.shared}",
            source=self.source,
        )

    def check(self, recipe: Weights, inputs: Mapping[str, Path]) -> None:
        """
        Raises:
            HarnessError: the inputs are no Llamas of one shape, or have biases.
        """
        options = MoeOptions.model_validate(recipe.options)
        roles = dict.fromkeys([options.base, *(expert.role for expert in options.experts)])
        check_dense([inputs[role] for role in roles if role in inputs])

    def build(self, recipe: Weights, inputs: Mapping[str, Path], out: Path) -> None:
        """
        Raises:
            HarnessError: the inputs are no Llamas of one shape, or have biases.
        """
        from safetensors.torch import save_file

        from melange.baselines.moe.assembly import (
            feed_forward_states,
            mixtral_config,
            mixtral_state,
            shared_state,
        )

        options = MoeOptions.model_validate(recipe.options)
        base = inputs[options.base]
        experts = [inputs[expert.role] for expert in options.experts]
        self.check(recipe, inputs)
        state = mixtral_state(
            shared_state([base] if options.shared == "base" else experts),
            list(feed_forward_states(experts)),
            router(options, base),
        )
        save_file(state, out / "model.safetensors", metadata={"format": "pt"})
        config = mixtral_config(
            read_config(base),
            num_experts=len(experts),
            experts_per_token=options.experts_per_token,
        )
        (out / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
        copy_companions(base, out)


def check_dense(folders: Sequence[Path]) -> None:
    infos = [inspect(folder) for folder in folders]
    for info in infos:
        if info.architecture not in DENSE:
            raise HarnessError(
                f"{info.path}: {info.architecture} cannot be a Mixtral's base; "
                f"use {' or '.join(sorted(DENSE))}."
            )
        if any(name.endswith(".bias") for name in info.shapes):
            raise HarnessError(
                f"{info.path}: has biases, Mixtral has none; use a Llama without biases."
            )
    check_alike(infos)


def router(options: MoeOptions, base: Path) -> "Tensor":
    from melange.baselines.moe.router import hidden_router, random_router, uniform_router

    config: dict[str, Any] = read_config(base)
    size = (config["num_hidden_layers"], len(options.experts), config["hidden_size"])
    if options.gate_mode == "uniform":
        return uniform_router(*size)
    if options.gate_mode == "random":
        return random_router(*size, seed=options.seed)
    return hidden_router(
        base,
        [expert.prompts for expert in options.experts],
        [expert.negative_prompts for expert in options.experts],
    )


METHOD = Moe()
