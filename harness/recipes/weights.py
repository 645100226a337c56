"""A single checkpoint: the zoo's, or built from several."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from melange.harness.checkpoints.built import DONE, ensure
from melange.harness.checkpoints.configs import MIXTURES, REWARD_MODEL
from melange.harness.checkpoints.source import Checkpoints
from melange.harness.loads import Load, Making, Served
from melange.harness.recipe import Ability, Description, Recipe


class Weights(Recipe):
    """A checkpoint of the zoo, or one that a method builds from several of them."""

    kind: Literal["weights"] = "weights"
    method: str
    inputs: tuple[str, ...]
    """Roles of the zoo, or absolute folders."""
    options: dict[str, Any] = Field(default={})

    @property
    def plain_role(self) -> str:
        return self.inputs[0] if len(self.inputs) == 1 and not self.options else ""

    def abilities_of(self, checkpoints: Checkpoints) -> frozenset[Ability]:
        """From the architecture: a reward model is not a kind of recipe of its own."""
        architecture = checkpoints.architecture(self)
        if architecture.endswith(REWARD_MODEL):
            return frozenset({Ability.REWARD})
        return self.abilities | ({Ability.ROUTE} if architecture in MIXTURES else frozenset())

    def check(self, checkpoints: Checkpoints) -> None:
        checkpoints.check(self)

    def served_roles(self, checkpoints: Checkpoints) -> Sequence[str]:
        return [checkpoints.like(self) or self.inputs[0]]

    def prepare(self, name: str, checkpoints: Checkpoints) -> Served:
        """If the result has an input's shapes, the engine is known without it, and the worker that
        first loads it builds it. Otherwise it is built here."""
        made = checkpoints.made(name, self)
        if made.build is None:
            return Served(Load(made.path), [made.path])
        like = checkpoints.like(self)
        if like is None:
            ensure(made.path, made.build)
            return Served(Load(made.path), [made.path])
        folder = checkpoints.folder(like)
        return Served(Load(made.path, making=Making(made.build, folder)), [folder])

    def describe(self) -> Description:
        options = [(name.replace("_", " "), _plain(value)) for name, value in self.options.items()]
        return Description(
            title=f"{self.method} of {', '.join(self.inputs)}",
            parts=[("Inputs", ", ".join(self.inputs)), *options],
            base=str(self.options.get("base") or ""),
        )

    def export(self, name: str, checkpoints: Checkpoints, out: Path) -> None:
        made = checkpoints.made(name, self)
        if made.build is not None:
            ensure(made.path, made.build)
        shutil.copytree(made.path, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(DONE))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
