"""A zoo of given checkpoint folders, and recipes over it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from melange.baselines.catalog import expand, methods
from melange.harness.checkpoints.built import ensure
from melange.harness.checkpoints.checksums import folder_hash
from melange.harness.checkpoints.source import Checkpoints
from melange.harness.contracts import Zoo
from melange.harness.plan import PlanOptions, make_plan
from melange.harness.records import Candidate, EngineOptions, Plan, Suite, Task
from melange.harness.roles import Kind, Role, Roles, named_role


class FolderZoo:
    name, scale = "folders", "pocket"
    world_seed: int | None = None
    reference = ()

    def __init__(
        self, folders: Mapping[str, Path | None], fingerprints: Mapping[str, str] | None = None
    ) -> None:
        """A role without a folder has not been built yet."""
        self._folders, self._fingerprints = folders, fingerprints or {}
        self.roles = tuple(folders)

    def related(self) -> list[Role]:
        return related(self.roles)

    def fingerprint(self, role: str) -> str:
        folder = self._folders[role]
        return self._fingerprints.get(role) or (folder_hash(folder) if folder else role)

    def missing(self, role: str) -> str:
        return ""

    def folder(self, role: str) -> Path | None:
        return self._folders.get(role)

    def engine(self, role: str) -> EngineOptions:
        return EngineOptions()

    def weights_bytes(self, role: str) -> int | None:
        return 1000

    def training_sec(self, role: str) -> float | None:
        return None

    def wall_seconds(self, roles: Collection[str]) -> float:
        return 0.0

    def build(self, roles: Collection[str]) -> Mapping[str, Path]:
        return {role: folder for role in roles if (folder := self._folders.get(role))}


def checkpoints_of(
    folders: Mapping[str, Path], fingerprints: Mapping[str, str] | None = None
) -> Checkpoints:
    return Checkpoints(FolderZoo(folders, fingerprints), methods(), paths=dict(folders))


def made(
    candidate: Candidate, folders: Mapping[str, Path], fingerprints: Mapping[str, str] | None = None
) -> Path:
    """The folder of a candidate that is one checkpoint, built if it does not exist."""
    recipe: Any = candidate.recipe
    found = checkpoints_of(folders, fingerprints).made(candidate.name, recipe)
    return found.path if found.build is None else ensure(found.path, found.build)


def plan_of(suite: Suite, zoo: Zoo, tasks: Mapping[str, Task], **options: Any) -> Plan:
    candidates = expand(suite.candidates, Roles(zoo.related()), where="suite.yaml").candidates
    checkpoints = Checkpoints(zoo, methods())
    return make_plan(suite, candidates, checkpoints, tasks, PlanOptions(**options))


def candidates_of(
    entries: Sequence[Mapping[str, Any]], roles: Iterable[str], *, where: str = "suite.yaml"
) -> list[Candidate]:
    return expand(entries, Roles(related(roles)), where=where).candidates


SIZES = ("small", "large", "mixture")
MIXED = ("knowledge", "arithmetic", "instructions")


def related(names: Iterable[str]) -> list[Role]:
    """Roles with the pocket zoo's naming: `small_math` is tuned from `small_base`."""
    names = tuple(names)
    return [_role(name, names) for name in names]


def _role(name: str, names: Collection[str]) -> Role:
    size, _, tuning = name.partition("_")
    if "@" in name or size not in SIZES:
        return named_role(name)
    if tuning == "base" or f"{size}_base" not in names:
        kind: Kind = "mixture" if size == "mixture" else "base"
        return Role(name=name, kind=kind, vocabulary="one", num_parameters=10 ** SIZES.index(size))
    domains = MIXED if tuning == "mix" else (tuning,)
    return Role(name=name, kind="finetune", of=(f"{size}_base",), label=tuning, domains=domains)
