"""Recipes whose parts are recipes: several candidates' answers become one."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zlib import crc32

from pydantic import BeforeValidator, Field, SerializeAsAny

from melange.harness.checkpoints.info import inspect
from melange.harness.checkpoints.source import Checkpoints
from melange.harness.checkpoints.weight_files import read_json
from melange.harness.errors import HarnessError
from melange.harness.loads import Served
from melange.harness.recipe import Ability, Description, Recipe, known_recipe
from melange.harness.requests import Completion, Generation, Request, Score

if TYPE_CHECKING:
    from melange.harness.panel import Panel

Part = Annotated[SerializeAsAny[Recipe], BeforeValidator(known_recipe)]


class Composite(Recipe):
    """A subclass says how its parts' answers are combined."""

    parts: tuple[Part, ...] = Field(min_length=1)
    """In the order in which they are asked; the first one's tokenizer encodes prompts."""

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(role for part in self.parts for role in part.inputs))

    @property
    def num_models(self) -> int:
        return sum(part.num_models for part in self.parts)

    @property
    def own_prompts(self) -> bool:
        return any(part.own_prompts for part in self.parts)

    def generate(self, panel: "Panel", batch: Sequence[Generation]) -> list[Completion]:
        """One completion for each request."""
        raise NotImplementedError

    def score(self, panel: "Panel", batch: Sequence[Request]) -> list[Score]:
        """One score for each request."""
        raise NotImplementedError

    def abilities_of(self, checkpoints: Checkpoints) -> frozenset[Ability]:
        """The kind's abilities that all parts have."""
        return self.abilities.intersection(*(part.abilities_of(checkpoints) for part in self.parts))

    def check(self, checkpoints: Checkpoints) -> None:
        """
        Raises:
            HarnessError: a part's inputs do not fit, or two parts have different tokenizers.
        """
        for part in self.parts:
            part.check(checkpoints)
        tokenizers: dict[object, str] = {}
        for role in (part.served_roles(checkpoints)[0] for part in self.parts):
            if folder := checkpoints.known(role):
                tokenizers.setdefault(_tokenizer(folder), role)
        if len(tokenizers) > 1:
            raise HarnessError(
                f"{' and '.join(tokenizers.values())} have different tokenizers, and prompts are "
                "tokens; use models of one tokenizer"
            )

    def served_roles(self, checkpoints: Checkpoints) -> Sequence[str]:
        roles = (role for part in self.parts for role in part.served_roles(checkpoints))
        return list(dict.fromkeys(roles))

    def served_as(self, checkpoints: Checkpoints) -> str:
        return f"{len(self.parts)} answers, one model after the other"

    def prepare(self, name: str, checkpoints: Checkpoints) -> Served:
        parts = [
            part.prepare(f"{name}-{at}", checkpoints) for at, part in enumerate(self.parts, start=1)
        ]
        return Served(parts[0].load._replace(panel=self), parts[0].folders, parts)

    def describe(self) -> Description:
        told = [part.describe() for part in self.parts]
        numbered = [(f"Part {at}", one.title) for at, one in enumerate(told, start=1)]
        return Description(
            title=f"{self.method} of {', '.join(dict.fromkeys(one.title for one in told))}",
            parts=numbered,
            base=told[0].base,
        )


def _tokenizer(folder: Path) -> object:
    """Tokenizers of equal vocabularies may differ in class, and so in how they split text."""
    settings = folder / "tokenizer_config.json"
    named = read_json(settings).get("tokenizer_class") if settings.is_file() else None
    return inspect(folder).tokenizer, named


def sampled(batch: Sequence[Generation], temperature: float, draw: int) -> list[Generation]:
    """The batch with seeds for this draw, which depend only on the prompt; unchanged if nothing is
    sampled."""
    if not temperature:
        return list(batch)
    return [one._replace(temperature=temperature, seed=_seed(one, draw)) for one in batch]


def _seed(asked: Generation, draw: int) -> int:
    return crc32(repr((asked.prompt, asked.seed, draw)).encode())
