"""A Mixtral whose experts are the feed-forward blocks of tuned models, without training.

Sources: mergekit-moe, https://arxiv.org/abs/2403.13257; Mixtral, https://arxiv.org/abs/2401.04088;
averaged shared parts as in Branch-Train-MiX, https://arxiv.org/abs/2403.07816.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from melange.baselines.options import candidate_name
from melange.baselines.selection import Models, SelectionOptions, selected
from melange.harness.checkpoints.configs import read_config
from melange.harness.checkpoints.fit import check_alike
from melange.harness.checkpoints.info import copy_companions, inspect
from melange.harness.errors import HarnessError
from melange.harness.recipes.weights import Weights
from melange.harness.records import Candidate, Record
from melange.harness.roles import Roles

if TYPE_CHECKING:
    from torch import Tensor

GateMode = Literal["hidden", "random", "uniform"]
DENSE = {"LlamaForCausalLM", "MistralForCausalLM"}


class Expert(Record):
    role: str
    prompts: tuple[str, ...] = ()
    """Texts that this expert should serve."""
    negative_prompts: tuple[str, ...] = ()


class Assembly(Record):
    """The options of one mixture's recipe."""

    base: str
    experts: tuple[Expert, ...] = Field(min_length=2)
    experts_per_token: int = Field(default=2, ge=1)
    gate_mode: GateMode = "hidden"
    shared: Literal["base", "average"] = "base"
    """Where attention, embeddings and norms come from.

    `base`, as in mergekit-moe: the router then reads the states it was made from, and with equal
    experts the result is the base. `average`: the mean of the experts, as in Branch-Train-MiX.
    """
    seed: int = 0

    @model_validator(mode="after")
    def is_complete(self) -> "Assembly":
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


class MoeOptions(SelectionOptions):
    models: Models = "tuned"
    experts: tuple[Expert, ...] = ()
    """Roles with their prompts, instead of `models` with the zoo's prompts."""
    prompts: dict[str, tuple[str, ...]] = Field(default={})
    """By domain, prompts that replace the zoo's."""
    gate_mode: GateMode | None = None
    """`hidden` if every selected expert has prompts, else `random`."""
    experts_per_token: int = Field(default=2, ge=1)
    shared: Literal["base", "average"] = "base"
    seed: int = 0

    def assemblies(self, roles: Roles) -> Iterator[tuple[Assembly, tuple[str, ...]]]:
        """Each mixture, and its tag.

        Raises:
            Lacks: no base has two such fine-tunes.
        """
        if self.experts:
            yield self.assembly(self.base, self.experts, self.gate_mode or "hidden"), ()
            return
        for group in selected(self, roles, at_least=2):
            experts = [
                Expert(role=one.name, prompts=self.prompts.get(one.called, one.prompts))
                for one in group.models
            ]
            found: GateMode = "hidden" if all(one.prompts for one in experts) else "random"
            yield self.assembly(group.base, experts, self.gate_mode or found), group.tag

    def assembly(self, base: str, experts: Sequence[Expert], gate_mode: GateMode) -> Assembly:
        if not base:
            raise HarnessError("named experts need base: ROLE, the model that they were tuned from")
        same = self.model_dump(include={"experts_per_token", "shared", "seed"})
        return Assembly(base=base, experts=tuple(experts), gate_mode=gate_mode, **same)


class Moe:
    name = "moe"
    family = "moe"
    source = "https://arxiv.org/abs/2403.13257"
    options = MoeOptions
    architecture = "MixtralForCausalLM"

    def candidates(self, options: MoeOptions, roles: Roles) -> Iterator[Candidate]:
        for one, tag in options.assemblies(roles):
            experts = [expert.role for expert in one.experts]
            own = "-".join(["moe", one.gate_mode, *(["average"] * (one.shared == "average"))])
            yield Candidate(
                name=candidate_name(options.name, True, own, tag=tag),
                family=self.family,
                recipe=Weights(
                    method=self.name,
                    inputs=tuple(dict.fromkeys([one.base, *experts])),
                    options=one.model_dump(mode="json"),
                ),
                summary=f"{len(experts)} experts, {one.experts_per_token} a token, "
                f"{one.gate_mode} router, shared parts of the {one.shared}",
                source=self.source,
            )

    def check(self, recipe: Weights, inputs: Mapping[str, Path]) -> None:
        """
        Raises:
            HarnessError: the inputs are not Llamas of one shape, or have biases.
        """
        options = Assembly.model_validate(recipe.options)
        roles = dict.fromkeys([options.base, *(expert.role for expert in options.experts)])
        check_dense([inputs[role] for role in roles if role in inputs])

    def build(self, recipe: Weights, inputs: Mapping[str, Path], out: Path) -> None:
        """
        Raises:
            HarnessError: the inputs are not Llamas of one shape, or have biases.
        """
        from safetensors.torch import save_file

        from melange.baselines.moe.assembly import (
            feed_forward_states,
            mixtral_config,
            mixtral_state,
            shared_state,
        )

        options = Assembly.model_validate(recipe.options)
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


def router(options: Assembly, base: Path) -> "Tensor":
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
