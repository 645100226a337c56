"""A reward model: a linear head on an unchanged language model.

The head is fitted to pairs of the pocket world's tuning split; the model below it stays. What a
small head reads off the last state is a floor for reward models that are trained as a whole.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import Field

from melange.baselines.options import Values
from melange.harness.cache import cache_dir
from melange.harness.checkpoints.configs import read_config
from melange.harness.checkpoints.fit import check_full_weights
from melange.harness.checkpoints.info import copy_companions, inspect
from melange.harness.errors import HarnessError
from melange.harness.recipes.weights import Weights
from melange.harness.records import Candidate, Record
from melange.harness.roles import Roles

LANGUAGE_MODEL = "LlamaForCausalLM"
HEAD = "score.weight"


class ProbeOptions(Record):
    models: Values[str]
    ridge: float = Field(default=1e-2, gt=0)
    """Weight of half the head's squared norm, relative to a pair's mean loss."""
    world_seed: int = 1
    """Seed of the pocket world that the pairs are about."""


class RewardProbe:
    name = "reward-probe"
    family = "reward"
    source = ""
    options = ProbeOptions
    architecture = "LlamaForSequenceClassification"

    def candidates(self, options: ProbeOptions, roles: Roles) -> Iterator[Candidate]:
        for role in options.models:
            kept = options.model_dump(mode="json", exclude={"models"})
            yield Candidate(
                name=f"reward-{role}",
                family=self.family,
                recipe=Weights(method=self.name, inputs=(role,), options=kept),
                summary=f"{role} with a linear head that rewards the better of two answers",
            )

    def check(self, recipe: Weights, inputs: Mapping[str, Path]) -> None:
        """
        Raises:
            HarnessError: the input is no Llama with full weights.
        """
        for folder in inputs.values():
            info = inspect(folder)
            check_full_weights(info)
            if info.architecture != LANGUAGE_MODEL:
                raise HarnessError(
                    f"{folder}: {info.architecture} cannot get a reward head here; "
                    f"use a {LANGUAGE_MODEL}."
                )

    def build(self, recipe: Weights, inputs: Mapping[str, Path], out: Path) -> None:
        """
        Raises:
            HarnessError: the input is no Llama with full weights.
        """
        import numpy as np
        import torch
        from safetensors.torch import save_file

        from melange.baselines.rewards.fitting import fit_preferences, last_states
        from melange.harness.checkpoints.tensors import read_tensors

        self.check(recipe, inputs)
        (model,) = inputs.values()
        options = ProbeOptions(models=recipe.inputs, **recipe.options)
        better, worse = zip(*tuning_pairs(options.world_seed), strict=True)
        states_PD = last_states(model, [*better, *worse])
        head_D = fit_preferences(*np.split(states_PD, 2), ridge=options.ridge)
        names = [name for name in inspect(model).shapes if name.startswith("model.")]
        state = {name: one.float().contiguous() for name, one in read_tensors(model, names).items()}
        state[HEAD] = torch.from_numpy(head_D).float()[None]
        save_file(state, out / "model.safetensors", metadata={"format": "pt"})
        config = read_config(model) | {
            "architectures": [self.architecture],
            "id2label": {"0": "reward"},
            "label2id": {"reward": 0},
        }
        (out / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
        copy_companions(model, out)


def tuning_pairs(world_seed: int) -> list[tuple[str, str]]:
    """Prompts with the better answer, and with the worse one."""
    from melange.tasks.sources import pocket_data

    file = pocket_data(world_seed, cache_dir()) / "preferences_tuning.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [(row["prompt"] + row["chosen"], row["prompt"] + row["rejected"]) for row in rows]


METHOD = RewardProbe()
