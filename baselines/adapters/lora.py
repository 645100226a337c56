"""A PEFT adapter as a model: its low-rank updates added to the weights of its base.

Source: Hu et al. 2021, https://arxiv.org/abs/2106.09685.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from melange.baselines.options import Values
from melange.harness.checkpoints.adapters import check_adapter
from melange.harness.checkpoints.fit import check_full_weights
from melange.harness.checkpoints.info import copy_companions, inspect
from melange.harness.errors import HarnessError
from melange.harness.recipes.logit_mix import ADAPTER
from melange.harness.recipes.weights import Weights
from melange.harness.records import Candidate, Record
from melange.harness.roles import Lacks, Roles


class AdapterOptions(Record):
    base: str = ""
    """A role; if empty, the one that each adapter was trained over."""
    adapters: Values[str] = ()
    """Roles or absolute folders; every adapter of the zoo, if empty."""


class Adapter:
    name = ADAPTER
    family = "single"
    source = "https://arxiv.org/abs/2106.09685"
    options = AdapterOptions

    def candidates(self, options: AdapterOptions, roles: Roles) -> Iterator[Candidate]:
        known = [one.name for one in roles if one.kind == "adapter" and one.parent]
        if not (options.adapters or known):
            raise Lacks("no adapter over a role of the zoo")
        for adapter in options.adapters or known:
            base = options.base or roles.get(adapter).parent
            if not base:
                raise HarnessError(
                    f"{adapter} needs base: ROLE, the model that it was trained over"
                )
            yield Candidate(
                name=Path(adapter).name,
                family=self.family,
                recipe=Weights(method=self.name, inputs=(base, adapter)),
                summary=f"{base} with the adapter {Path(adapter).name}",
                source=self.source,
            )

    def check(self, recipe: Weights, inputs: Mapping[str, Path]) -> None:
        """
        Raises:
            HarnessError: the adapter was made for a base of another shape, or the base is packed.
        """
        base, adapter = recipe.inputs
        if base in inputs:
            check_full_weights(inspect(inputs[base]))
        if base in inputs and adapter in inputs:
            check_adapter(inputs[base], inputs[adapter])

    def build(self, recipe: Weights, inputs: Mapping[str, Path], out: Path) -> None:
        """Write the merged checkpoint.

        Raises:
            HarnessError: the adapter was made for a base of another shape.
        """
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        self.check(recipe, inputs)
        base, adapter = (inputs[role] for role in recipe.inputs)
        model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
        with torch.inference_mode():
            merged = PeftModel.from_pretrained(model, adapter).merge_and_unload(safe_merge=True)
        merged.save_pretrained(out)
        copy_companions(base, out)


METHOD = Adapter()
