"""What a recipe is: how a candidate is made of checkpoints and served. Kinds: harness/recipes/."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict

from melange.harness.errors import HarnessError

if TYPE_CHECKING:
    from melange.harness.checkpoints.source import Checkpoints
    from melange.harness.loads import Served


class Record(BaseModel):
    """Frozen; unknown keys are refused, so that a misspelt key cannot pass unseen."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Ability(StrEnum):
    """What a candidate can be asked for."""

    GENERATE = "generate"
    CHOOSE = "choose"
    """The likeliest of several continuations of one context."""
    SCORE = "score"
    """Log-probabilities of continuations."""
    REWARD = "reward"
    """A number for a text: how good it is."""
    ROUTE = "route"
    """Which experts a text's tokens choose."""


LANGUAGE_MODEL = frozenset({Ability.GENERATE, Ability.CHOOSE, Ability.SCORE})


class Description(NamedTuple):
    """What pages say of a recipe."""

    title: str
    parts: Sequence[tuple[str, str]]
    """Label and text of each ingredient and option."""
    base: str = ""
    """The role that it starts from; empty where that is what its inputs were made from."""
    experts: tuple[str, ...] = ()
    """Tuned roles, or adapters, that steer the base."""
    antiexperts: tuple[str, ...] = ()
    """What the experts were tuned from, where their difference to it is what steers."""


class Recipe(Record):
    """How a candidate is made of checkpoints, and served. A subclass is a kind, below
    harness/recipes/; nobody asks which kind a recipe is. Its JSON is its identity."""

    kinds: ClassVar[dict[str, type["Recipe"]]] = {}

    abilities: ClassVar[frozenset[Ability]] = LANGUAGE_MODEL
    """Of the kind, whatever it is made from."""

    kind: str
    method: str

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        Recipe.kinds[cls.model_fields["kind"].default] = cls

    if TYPE_CHECKING:  # a field of some kinds, which pydantic would not put over a property

        @property
        def inputs(self) -> tuple[str, ...]:
            """Roles of the zoo, or absolute folders."""

    @property
    def plain_role(self) -> str:
        """The role of the zoo that it is, and nothing more; empty for anything else."""
        return ""

    @property
    def num_models(self) -> int:
        """Models that compute each token."""
        return 1

    @property
    def own_prompts(self) -> bool:
        """Some member sees prompts through a chat template of its own."""
        return False

    def abilities_of(self, checkpoints: "Checkpoints") -> frozenset[Ability]:
        """Made from these checkpoints, as far as they are there: plans ask."""
        return self.abilities

    def check(self, checkpoints: "Checkpoints") -> None:
        """By configurations and file headers alone: plans ask. What is not there yet is not
        looked at.

        Raises:
            HarnessError: inputs do not fit each other or the method.
        """
        raise NotImplementedError

    def served_roles(self, checkpoints: "Checkpoints") -> Sequence[str]:
        """Inputs whose shapes the engine will have, the one with the tokenizer first."""
        raise NotImplementedError

    def served_as(self, checkpoints: "Checkpoints") -> str:
        """How several models are run at once; empty for a candidate that is one model."""
        return ""

    def served_bytes(self, sizes: Sequence[int]) -> int:
        """Of weights, at least, by the sizes of the inputs."""
        return max(sizes, default=0)

    def prepare(self, name: str, checkpoints: "Checkpoints") -> "Served":
        """What a worker needs; what it cannot build itself is built.

        Raises:
            HarnessError: a checkpoint is missing, damaged, or does not fit the others.
        """
        raise NotImplementedError

    def describe(self) -> Description:
        raise NotImplementedError

    def export(self, name: str, checkpoints: "Checkpoints", out: Path) -> None:
        """Write it to the folder `out`, for plain vLLM.

        Raises:
            HarnessError: plain vLLM cannot serve it.
        """
        raise HarnessError(f"{name}: plain vLLM cannot serve a {self.kind}")


class UnknownRecipe(Recipe):
    """Of a kind that a later version wrote: shown, and nothing else."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str = ""
    method: str = "unknown"

    @property
    def inputs(self) -> tuple[str, ...]:
        return ()

    def check(self, checkpoints: "Checkpoints") -> None:
        raise HarnessError(f"a recipe of kind {self.kind!r}, which this version does not know")

    def describe(self) -> Description:
        said = f"a recipe of kind {self.kind!r}, which this version does not know"
        return Description(title=said, parts=[("Unknown", said)])


def known_recipe(value: Any) -> Any:
    """A recipe's JSON as a recipe of its kind."""
    if isinstance(value, Recipe) or not isinstance(value, Mapping):
        return value
    return Recipe.kinds.get(value.get("kind", ""), UnknownRecipe).model_validate(value)
