"""What is checked, and against what. Plain data that crosses processes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from melange.harness.records import Candidate, Task
from melange.harness.verdicts import Check


class Subject(NamedTuple):
    """A candidate, and where the run's answers and its checkpoints are."""

    candidate: Candidate
    paths: Mapping[str, Path]
    """Folders of the zoo's roles."""
    built: Path | None
    """The folder that was built for it, used if there is no formula for its weights."""
    dtype: str
    """The engine's dtype."""
    tasks: Sequence[str]
    """Those that it has completed."""
    max_model_len: int | None = None
    """The context length asked for; None: the model's own."""
    known: Sequence[Check] = ()
    """Earlier checks that are still current."""

    def folder(self, role: str) -> Path:
        return Path(role) if Path(role).is_absolute() else Path(self.paths[role])


class Setting(NamedTuple):
    """What all candidates of a run have in common."""

    folder: Path
    """The run's."""
    tasks: Mapping[str, tuple[Task, Sequence[Any]]]
    """Name -> (entry, sources for lm-eval)."""
    limit: int | None
    seed: int
    number: int
    """Examples of each kind of request."""
    device: str
    cores: tuple[int, ...] = ()
    """Cores that the process may use; all if empty."""
