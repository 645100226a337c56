"""Mixes of several models' next-token distributions."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from melange.harness.cache import cache_dir
from melange.harness.checkpoints.adapters import check_adapter, is_adapter
from melange.harness.checkpoints.built import ensure
from melange.harness.checkpoints.fit import check_full_weights
from melange.harness.checkpoints.info import inspect
from melange.harness.checkpoints.source import Checkpoints
from melange.harness.checkpoints.vocabularies import check_same_tokens
from melange.harness.engines.fused.checks import can_fuse
from melange.harness.engines.member_checks import unfit_member
from melange.harness.errors import HarnessError
from melange.harness.loads import Load, Served
from melange.harness.recipe import Description, Recipe, Record
from melange.harness.recipes.weights import Weights

ADAPTER = "adapter"
"""The method that merges a PEFT adapter into its base."""
COMBINED = {"logits": "sum of logits", "probabilities": "mean of probabilities"}


class Member(Record):
    """A model whose next-token distribution enters a mix."""

    role: str
    adapter: str = ""
    """A PEFT adapter over `role`: a role or an absolute folder; empty: none."""
    coefficient: float = Field(allow_inf_nan=False)
    own_prompt: bool = False
    """It sees each prompt as a user's message in its own chat template; the base sees it as is."""

    @property
    def tuned(self) -> str:
        return self.adapter or self.role

    def __str__(self) -> str:
        adapter = f" with the adapter {self.adapter}" if self.adapter else ""
        prompt = ", prompts in its own chat template" if self.own_prompt else ""
        return f"{self.role}{adapter}{prompt}"


class LogitMix(Recipe):
    """`logits`: the sum of coefficient * logits. Proxy-tuning is base + alpha * (expert -
    antiexpert); equal coefficients give the mean. `probabilities`: the weighted mean of the
    distributions.
    """

    kind: Literal["logit_mix"] = "logit_mix"
    method: str
    members: tuple[Member, ...] = Field(min_length=2)
    """The base first: its tokenizer encodes prompts, its vocabulary is the mix's."""
    combine: Literal["logits", "probabilities"] = "logits"

    @property
    def base(self) -> str:
        return self.members[0].role

    @property
    def inputs(self) -> tuple[str, ...]:
        named = (part for one in self.members for part in (one.role, one.adapter) if part)
        return tuple(dict.fromkeys(named))

    @property
    def coefficients(self) -> tuple[float, ...]:
        return tuple(member.coefficient for member in self.members)

    @property
    def fusible(self) -> bool:
        """Whether one engine can run all members as one model: all see the same tokens."""
        return not self.own_prompts

    @property
    def own_prompts(self) -> bool:
        return any(member.own_prompt for member in self.members)

    @property
    def num_models(self) -> int:
        return len(self.members)

    @model_validator(mode="after")
    def probabilities_sum_to_one(self) -> "LogitMix":
        weights = self.coefficients
        if self.combine == "probabilities" and not (
            min(weights) >= 0 and abs(sum(weights) - 1) < 1e-6
        ):
            raise ValueError(f"weights of probabilities {weights} are negative or do not sum to 1")
        return self

    def check(self, checkpoints: Checkpoints) -> None:
        """
        Raises:
            HarnessError: a member is quantized, has other tokens or an adapter that does not fit,
                or cannot run beside the base.
        """
        folders = checkpoints.known_folders(self.inputs)
        base = folders.get(self.base)
        for member in self.members:
            folder = folders.get(member.role)
            if folder is None:
                continue
            if not is_adapter(folder):
                check_full_weights(inspect(folder))
            if base is not None and folder != base:
                check_same_tokens(base, folder)
            if member.adapter in folders:
                check_adapter(folder, folders[member.adapter])
        if reason := unfit_member(self, {one.role: folders.get(one.role) for one in self.members}):
            raise HarnessError(reason)

    def served_roles(self, checkpoints: Checkpoints) -> Sequence[str]:
        return [one.role for one in self.members] if self.fusible else [self.base]

    def served_as(self, checkpoints: Checkpoints) -> str:
        roles = [one.role for one in self.members]
        known = checkpoints.known_folders(roles)
        folders = [known[role] for role in roles if role in known]
        return "fused" if self.fusible and can_fuse(folders) else "logits processor"

    def served_bytes(self, sizes: Sequence[int]) -> int:
        return sum(sizes)

    def prepare(self, name: str, checkpoints: Checkpoints) -> Served:
        """As one fused model if all members see the same tokens, else by a logits processor."""
        from melange.harness.engines.fused.folder import write_folder

        folders = self._folders(checkpoints)
        if not (self.fusible and can_fuse(folders)):
            return Served(Load(folders[0], self, folders), folders)
        content = [self.combine, self.coefficients, [str(folder) for folder in folders]]
        key = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
        out = cache_dir() / "fused" / key
        write_folder(out, folders, self.coefficients, self.combine)
        return Served(Load(out, base=folders[0]), folders)

    def _folders(self, checkpoints: Checkpoints) -> list[Path]:
        """A checkpoint folder for each member, the base's first; adapters are merged in."""
        return [_member_folder(member, checkpoints) for member in self.members]

    def describe(self) -> Description:
        others = self.members[1:]
        experts = [one for one in others if one.coefficient > 0]
        against = [one.role for one in others if one.coefficient < 0]
        steering = ", ".join(one.tuned for one in experts or others)
        members = [(f"{one.coefficient:+g} ×", str(one)) for one in self.members]
        return Description(
            title=f"{self.method}: {self.base} with {steering}",
            parts=[("At every token", COMBINED[self.combine]), *members],
            base=self.base,
            experts=tuple(one.tuned for one in experts),
            antiexperts=tuple(against),
        )

    def export(self, name: str, checkpoints: Checkpoints, out: Path) -> None:
        """The folder names its members' folders, which must not move. To serve it, vLLM needs this
        package's plugin."""
        from melange.harness.engines.fused.folder import write_folder

        if self.own_prompts:
            raise HarnessError(
                f"{name}: a member sees prompts of its own, which one engine cannot serve; "
                "export a candidate without own_prompt"
            )
        write_folder(out, self._folders(checkpoints), self.coefficients, self.combine)


def _member_folder(member: Member, checkpoints: Checkpoints) -> Path:
    if not member.adapter:
        return checkpoints.folder(member.role)
    recipe = Weights(method=ADAPTER, inputs=(member.role, member.adapter))
    name = f"{Path(member.role).name}+{Path(member.adapter).name}"
    made = checkpoints.made(name, recipe)
    assert made.build is not None
    return ensure(made.path, made.build)
