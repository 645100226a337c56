"""Zoos that are trained on the spot, cached by the hash of what made them.

Planning imports no torch. Training runs in processes of one thread each: at these sizes two
roles side by side finish sooner than one after the other with two threads, and the weights do
not depend on the number of cores.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from baselines.cache import cache_dir
from baselines.zoo.progress import OnProgress, progress_bars
from baselines.zoo.recipe import Recipe, num_parameters, read_recipe, role_fingerprint
from baselines.zoo.workers import Workers, claimed, num_workers
from harness.errors import HarnessError, unknown
from tasks.pocket.tokens import VOCABULARY_SIZE

BYTES_PER_PARAMETER = 4  # float32


@dataclass(frozen=True, slots=True)
class TrainedZoo:
    """The roles of one recipe. `large_base@110` names step 110 of large_base's trajectory.

    The role before the `@` owns the steps: they are trained, claimed and cached with it.
    """

    recipe_path: Path
    recipe: Recipe
    cache: Path
    _fingerprints: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def scale(self) -> str:
        return self.recipe.scale

    @property
    def world_seed(self) -> int:
        return self.recipe.world_seed

    @property
    def roles(self) -> tuple[str, ...]:
        """Every role, those of the trajectories included."""
        steps = (
            f"{role}@{step}" for role in self.recipe.roles for step in self.recipe.trajectory(role)
        )
        return (*self.recipe.roles, *steps)

    def fingerprint(self, role: str) -> str:
        """Of what the role is made of; a step of a trajectory adds its number to its owner's."""
        owner, step = self._owner(role)
        if owner not in self._fingerprints:
            self._fingerprints[owner] = role_fingerprint(self.recipe, owner)
        return self._fingerprints[owner] + (f"-{step}" if step else "")

    def path(self, role: str) -> Path:
        """Where the role's checkpoint is or will be."""
        owner, step = self._owner(role)
        folder = self.cache / f"{owner}-{self.fingerprint(owner)}"
        return folder / f"step-{step}" if step else folder

    def ready(self, role: str) -> bool:
        owner, _ = self._owner(role)
        return (self.path(owner) / "done.json").is_file()

    def folder(self, role: str) -> Path | None:
        return self.path(role) if self.ready(role) else None

    def missing(self, role: str) -> str:
        """Always empty: whatever the recipe names can be trained here."""
        self._owner(role)
        return ""

    def params(self, role: str) -> int:
        """At most: the tokenizer may find fewer merges worth a token."""
        training = self.recipe.training(self._owner(role)[0])
        return num_parameters(self.recipe.sizes[training.size], VOCABULARY_SIZE)

    def weights_bytes(self, role: str) -> int:
        return self.params(role) * BYTES_PER_PARAMETER

    def seconds(self, role: str) -> float:
        """What training this role takes by itself, its parents not counted."""
        return self.recipe.training(self._owner(role)[0]).seconds

    def wall_seconds(self, roles: Collection[str]) -> float:
        """What `build(roles)` would take now: parents counted, what is ready not."""
        untrained = self.untrained(roles)
        chains = [self._seconds_after(role, untrained) for role in untrained]
        total = sum(self.seconds(role) for role in untrained)
        return max([total / num_workers(), *chains])

    def untrained(self, roles: Collection[str]) -> tuple[str, ...]:
        """What must be trained for `roles`, parents first."""
        found: dict[str, None] = {}
        for role in roles:
            owner, _ = self._owner(role)
            if self.ready(owner):
                continue
            parent = self.recipe.training(owner).parent
            if parent is not None:
                found |= dict.fromkeys(self.untrained([parent]))
            found[owner] = None
        return tuple(found)

    def build(
        self, roles: Collection[str], *, on_progress: OnProgress | None = None
    ) -> dict[str, Path]:
        """Train what is missing, then return the folder of each role asked for.

        A role that another run is building is waited for, not repeated. Without `on_progress`,
        bars with an estimate go to stderr.

        Raises:
            HarnessError: a role is unknown.
            RuntimeError: training failed; the message ends with the log's last lines.
        """
        untrained = self.untrained(roles)
        if untrained and on_progress is not None:
            self._train_all(untrained, on_progress)
        elif untrained:
            with progress_bars({role: self.recipe.roles[role].steps for role in untrained}) as show:
                self._train_all(untrained, show)
        return {role: self.path(role) for role in roles}

    def _owner(self, role: str) -> tuple[str, int | None]:
        owner, at, step = role.partition("@")
        if owner not in self.recipe.roles:
            raise unknown("role", role, self.roles)
        if not at:
            return owner, None
        if step not in map(str, self.recipe.trajectory(owner)):
            raise unknown("role", role, self.roles)
        return owner, int(step)

    def _seconds_after(self, role: str, untrained: Collection[str]) -> float:
        """A role's own seconds and those of the longest chain that waits for it."""
        children = [r for r in untrained if self.recipe.training(r).parent == role]
        return self.seconds(role) + max(
            (self._seconds_after(child, untrained) for child in children), default=0.0
        )

    def _train_all(self, untrained: tuple[str, ...], on_progress: OnProgress) -> None:
        # The longest chain first: whatever waits for it would otherwise end up alone.
        waiting = sorted(untrained, key=lambda role: -self._seconds_after(role, untrained))
        running: dict[Future[None], str] = {}
        # Workers are inside the pool: they must end before the pool waits for its threads.
        with ThreadPoolExecutor(num_workers()) as pool, Workers(on_progress) as workers:
            while waiting or running:
                for role in self._startable(waiting)[: num_workers() - len(running)]:
                    waiting.remove(role)
                    running[pool.submit(self._train, role, workers)] = role
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    running.pop(future)
                    future.result()

    def _startable(self, waiting: list[str]) -> list[str]:
        parents = {role: self.recipe.training(role).parent for role in waiting}
        return [role for role in waiting if (p := parents[role]) is None or self.ready(p)]

    def _train(self, role: str, workers: Workers) -> None:
        final = self.path(role)
        with claimed(final):
            if self.ready(role):
                return
            partial = final.with_name(f"{final.name}.partial")
            for leftover in (partial, final):
                shutil.rmtree(leftover, ignore_errors=True)
            partial.mkdir(parents=True)
            workers.run(role, self._job(role, partial), partial)
            self._finish(role, partial)
            partial.rename(final)

    def _finish(self, role: str, folder: Path) -> None:
        fit = folder / "fit.json"
        done = json.loads(fit.read_text()) | {"fingerprint": self.fingerprint(role)}
        fit.unlink()
        (folder / "done.json").write_text(json.dumps(done, indent=1))

    def _job(self, role: str, folder: Path) -> dict[str, str | int | None]:
        """The fields of `baselines.zoo.fit.Job`, which a plan must not import."""
        parent = self.recipe.training(role).parent
        return {
            "recipe_path": str(self.recipe_path),
            "role": role,
            "out_dir": str(folder),
            "parent_dir": str(self.path(parent)) if parent else None,
            "num_threads": 1,
        }


def open_zoo(recipe_path: Path, *, cache: Path | None = None) -> TrainedZoo:
    """Raises HarnessError where the file is not there or not a recipe of a trained zoo."""
    if not recipe_path.is_file():
        raise HarnessError(f"zoo recipe {recipe_path} does not exist; give a YAML file")
    recipe = read_recipe(recipe_path)
    root = cache if cache is not None else cache_dir()
    return TrainedZoo(recipe_path.resolve(), recipe, root.absolute() / "zoo" / recipe.name)
