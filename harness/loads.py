"""A candidate on its way to an engine. Plain data: it crosses processes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from melange.harness.records import EngineShape

if TYPE_CHECKING:
    from melange.harness.recipes.composite import Composite
    from melange.harness.recipes.logit_mix import LogitMix


class Load(NamedTuple):
    """A candidate as an engine takes it."""

    checkpoint: Path
    mix: "LogitMix | None" = None
    """Where the members beside the base run in the logits processor."""
    members: Sequence[Path] = ()
    """A folder for each member of `mix`."""
    making: "Making | None" = None
    """What writes the checkpoint, if it may not be there yet."""
    base: Path | None = None
    """Of a fused mix, whose config.json is ours: the folder whose tokenizer encodes prompts."""

    panel: "Composite | None" = None
    """What makes one answer of those of `seats`."""
    seats: "Sequence[Seat]" = ()

    @property
    def start(self) -> Path:
        """A checkpoint of its shapes that is there."""
        return self.making.like if self.making else self.checkpoint

    @property
    def tokenizer(self) -> Path:
        return self.base or self.start


class Seat(NamedTuple):
    """A part of a panel, and its engine."""

    load: Load
    shape: EngineShape


class Making(NamedTuple):
    build: Callable[[Path], None]
    """Makes the folder of this path, whole or not at all."""
    like: Path
    """A checkpoint of the same shapes, configuration and tokenizer."""


class Served(NamedTuple):
    """A candidate on its way to an engine."""

    load: Load
    folders: Sequence[Path]
    """Checkpoints with the shapes of every model that serves at once, the base first."""
    parts: "Sequence[Served]" = ()
    """Of a composite, in the order in which they are asked; the rest is the first one's."""
