"""What an engine needs to serve a candidate. Plain data that crosses processes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from melange.harness.records import EngineShape

if TYPE_CHECKING:
    from melange.harness.recipes.composite import Composite
    from melange.harness.recipes.logit_mix import LogitMix


class Load(NamedTuple):
    """What an engine loads for a candidate."""

    checkpoint: Path
    mix: "LogitMix | None" = None
    """A mix whose members other than the base run in the logits processor."""
    members: Sequence[Path] = ()
    """A folder for each member of `mix`."""
    making: "Making | None" = None
    """Builds the checkpoint, if it may not exist yet."""
    base: Path | None = None
    """Of a fused mix, whose config.json is our own: the folder with the tokenizer for prompts."""

    panel: "Composite | None" = None
    """The composite that combines the answers of `seats`."""
    seats: "Sequence[Seat]" = ()

    @property
    def start(self) -> Path:
        """An existing checkpoint of the same shapes."""
        return self.making.like if self.making else self.checkpoint

    @property
    def tokenizer(self) -> Path:
        return self.base or self.start


class Seat(NamedTuple):
    """A part of a panel, and the shape of its engine."""

    load: Load
    shape: EngineShape


class Making(NamedTuple):
    build: Callable[[Path], None]
    """Builds the folder of this path; it is complete or absent."""
    like: Path
    """A checkpoint of the same shapes, configuration and tokenizer."""


class Served(NamedTuple):
    """What `Recipe.prepare` returns."""

    load: Load
    folders: Sequence[Path]
    """Checkpoints with the shapes of all models that are served at once, the base first."""
    parts: "Sequence[Served]" = ()
    """A composite's, in the order in which they are asked. Other fields are the first part's."""
