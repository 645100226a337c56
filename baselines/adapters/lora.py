"""A PEFT adapter as a model: its low-rank updates added to the weights of its base.

Source: Hu et al. 2021, https://arxiv.org/abs/2106.09685.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from melange.baselines.entries import OneOrMore
from melange.harness.checkpoints.adapters import check_adapter
from melange.harness.checkpoints.fit import check_full_weights
from melange.harness.checkpoints.info import copy_companions, inspect
from melange.harness.recipes.logit_mix import ADAPTER
from melange.harness.recipes.weights import Weights
from melange.harness.records import Candidate, Record


class AdapterOptions(Record):
    base: str
    adapters: OneOrMore[str]
    """A role or an absolute folder each."""


class Adapter:
    name = ADAPTER
    family = "single"
    source = "https://arxiv.org/abs/2106.09685"
    options = AdapterOptions

    def candidates(self, options: AdapterOptions, roles: Sequence[str]) -> Iterator[Candidate]:
        for adapter in options.adapters:
            yield Candidate(
                name=Path(adapter).name,
                family=self.family,
                recipe=Weights(method=self.name, inputs=(options.base, adapter)),
                summary=f"{options.base} with the adapter {Path(adapter).name}",
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
