"""A zoo of given checkpoint folders, and recipes over it."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from melange.baselines.catalog import expand, methods
from melange.harness.checkpoints.built import ensure
from melange.harness.checkpoints.checksums import folder_hash
from melange.harness.checkpoints.source import Checkpoints
from melange.harness.contracts import Zoo
from melange.harness.plan import PlanOptions, make_plan
from melange.harness.records import Candidate, EngineOptions, Plan, Suite, Task


class FolderZoo:
    name, scale = "folders", "pocket"
    world_seed: int | None = None

    def __init__(
        self, folders: Mapping[str, Path | None], prints: Mapping[str, str] | None = None
    ) -> None:
        """A role without a folder is still to be built."""
        self._folders, self._prints = folders, prints or {}
        self.roles = tuple(folders)

    def fingerprint(self, role: str) -> str:
        folder = self._folders[role]
        return self._prints.get(role) or (folder_hash(folder) if folder else role)

    def missing(self, role: str) -> str:
        return ""

    def folder(self, role: str) -> Path | None:
        return self._folders.get(role)

    def engine(self, role: str) -> EngineOptions:
        return EngineOptions()

    def weights_bytes(self, role: str) -> int | None:
        return 1000

    def wall_seconds(self, roles: Collection[str]) -> float:
        return 0.0

    def build(self, roles: Collection[str]) -> Mapping[str, Path]:
        return {role: folder for role in roles if (folder := self._folders.get(role))}


def checkpoints_of(
    folders: Mapping[str, Path], prints: Mapping[str, str] | None = None
) -> Checkpoints:
    return Checkpoints(FolderZoo(folders, prints), methods(), paths=dict(folders))


def made(
    candidate: Candidate, folders: Mapping[str, Path], prints: Mapping[str, str] | None = None
) -> Path:
    """The folder of a candidate that is one checkpoint, built where it is not there."""
    recipe: Any = candidate.recipe
    found = checkpoints_of(folders, prints).made(candidate.name, recipe)
    return found.path if found.build is None else ensure(found.path, found.build)


def plan_of(suite: Suite, zoo: Zoo, tasks: Mapping[str, Task], **options: Any) -> Plan:
    candidates = candidates_of(suite.candidates, zoo.roles)
    checkpoints = Checkpoints(zoo, methods())
    return make_plan(suite, candidates, checkpoints, tasks, PlanOptions(**options))


def candidates_of(entries: Sequence[Mapping[str, Any]], roles: Sequence[str]) -> list[Candidate]:
    return expand(entries, roles, where="suite.yaml")
