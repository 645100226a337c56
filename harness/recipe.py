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
    """Frozen; unknown keys are refused, so that misspelt keys are noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Ability(StrEnum):
    """What a candidate can be asked for."""

    GENERATE = "generate"
    CHOOSE = "choose"
    """The most likely of several continuations of one context."""
    SCORE = "score"
    """Log-probabilities of continuations."""
    REWARD = "reward"
    """A number for how good a text is."""
    ROUTE = "route"
    """Which experts a text's tokens choose."""


LANGUAGE_MODEL = frozenset({Ability.GENERATE, Ability.CHOOSE, Ability.SCORE})


class Description(NamedTuple):
    """What pages say of a recipe."""

    title: str
    parts: Sequence[tuple[str, str]]
    """Label and text of each ingredient and option."""
    base: str = ""
    """The role that it starts from; empty if that is the root of its inputs."""
    experts: tuple[str, ...] = ()
    """Tuned roles, or adapters, that steer the base."""
    antiexperts: tuple[str, ...] = ()
    """What the experts were tuned from, if the base is steered by their difference."""


class Recipe(Record):
    """How a candidate is made of checkpoints, and served. A subclass is a kind, below
    harness/recipes/; nobody asks which kind a recipe is. Its JSON is its identity."""

    kinds: ClassVar[dict[str, type["Recipe"]]] = {}

    abilities: ClassVar[frozenset[Ability]] = LANGUAGE_MODEL
    """Of every recipe of this kind; see `abilities_of`."""

    kind: str
    method: str

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        Recipe.kinds[cls.model_fields["kind"].default] = cls

    if TYPE_CHECKING:  # a field in some kinds, which pydantic does not allow over a property

        @property
        def inputs(self) -> tuple[str, ...]:
            """Roles of the zoo, or absolute folders."""

    @property
    def plain_role(self) -> str:
        """The role, if the recipe is one role of the zoo unchanged; else empty."""
        return ""

    @property
    def num_models(self) -> int:
        """Number of models that compute each token."""
        return 1

    @property
    def own_prompts(self) -> bool:
        """Whether some member sees prompts through its own chat template."""
        return False

    def abilities_of(self, checkpoints: "Checkpoints") -> frozenset[Ability]:
        """With these checkpoints, as far as they are ready. Plans ask, so it must be cheap."""
        return self.abilities

    def check(self, checkpoints: "Checkpoints") -> None:
        """Check the inputs that are ready by their configs and file headers. Plans ask, so it must
        be cheap.

        Raises:
            HarnessError: inputs do not fit each other or the method.
        """
        raise NotImplementedError

    def served_roles(self, checkpoints: "Checkpoints") -> Sequence[str]:
        """Inputs whose shapes the engine will have; the first has the tokenizer."""
        raise NotImplementedError

    def served_as(self, checkpoints: "Checkpoints") -> str:
        """How several models run at once; empty for a single model."""
        return ""

    def served_bytes(self, sizes: Sequence[int]) -> int:
        """Bytes of weights, at least, given the inputs' bytes."""
        return max(sizes, default=0)

    def prepare(self, name: str, checkpoints: "Checkpoints") -> "Served":
        """What a worker needs. Builds what the worker cannot build itself.

        Raises:
            HarnessError: a checkpoint is missing, damaged, or does not fit the others.
        """
        raise NotImplementedError

    def describe(self) -> Description:
        raise NotImplementedError

    def export(self, name: str, checkpoints: "Checkpoints", out: Path) -> None:
        """Write the candidate to the folder `out`, for plain vLLM.

        Raises:
            HarnessError: plain vLLM cannot serve it.
        """
        raise HarnessError(f"{name}: plain vLLM cannot serve a {self.kind}")


class UnknownRecipe(Recipe):
    """A recipe of a kind that a later version wrote: it can be shown, nothing else."""

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
    """The recipe's JSON, parsed by its kind."""
    if isinstance(value, Recipe) or not isinstance(value, Mapping):
        return value
    return Recipe.kinds.get(value.get("kind", ""), UnknownRecipe).model_validate(value)
