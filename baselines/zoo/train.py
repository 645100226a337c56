"""Zoos that are trained on demand, cached by the hash of their spec.

Planning imports no torch. Training runs in processes of one thread each: at these sizes two
roles side by side finish sooner than one after the other with two threads, and the weights do
not depend on the number of cores.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from melange.baselines.zoo.progress import OnProgress, shown_progress
from melange.baselines.zoo.spec import SpecZoo, ZooSpec, spec_hash
from melange.baselines.zoo.workers import Workers, claimed, num_workers
from melange.harness.cache import cache_dir
from melange.harness.checkpoints.checksums import folder_hash

DONE, RESUME = "done.json", "resume.pt"


@dataclass(frozen=True, slots=True)
class TrainedZoo(SpecZoo):
    """The roles of one spec. `large_base@110` names step 110 of large_base's trajectory.

    The role before the `@` owns the steps: they are trained, claimed and cached with it.
    """

    cache: Path

    def fingerprint(self, role: str) -> str:
        """Of the weights; of the spec until they are trained."""
        folder = self.folder(role)
        if folder is None:
            return f"recipe-{spec_hash(self.spec, self.spec.owner(role)[0])}"
        return folder_hash(folder)

    def path(self, role: str) -> Path:
        """Where the role's checkpoint is or will be."""
        owner, step = self.spec.owner(role)
        folder = self.cache / f"{owner}-{spec_hash(self.spec, owner)}"
        return folder / f"step-{step}" if step else folder

    def ready(self, role: str) -> bool:
        owner, _ = self.spec.owner(role)
        return (self.path(owner) / DONE).is_file()

    def folder(self, role: str) -> Path | None:
        return self.path(role) if self.ready(role) else None

    def missing(self, role: str) -> str:
        """Always empty: whatever the spec names can be trained here."""
        self.spec.owner(role)
        return ""

    def training_sec(self, role: str) -> float | None:
        """None before it is trained."""
        done = self.path(role) / DONE
        if not done.is_file():
            return None
        return float(json.loads(done.read_text(encoding="utf-8"))["build_sec"])

    def seconds(self, role: str) -> float:
        """Estimated seconds of training this role, without its parents."""
        return self.spec.training(self.spec.owner(role)[0]).seconds

    def wall_seconds(self, roles: Collection[str]) -> float:
        """Estimated seconds of `build(roles)`: with untrained parents, without what is ready."""
        untrained = self.untrained(roles)
        chains = [self._seconds_after(role, untrained) for role in untrained]
        total = sum(self.seconds(role) for role in untrained)
        return max([total / num_workers(), *chains])

    def untrained(self, roles: Collection[str]) -> tuple[str, ...]:
        """What must be trained for `roles`, parents first."""
        found: dict[str, None] = {}
        for role in roles:
            owner, _ = self.spec.owner(role)
            if self.ready(owner):
                continue
            parent = self.spec.training(owner).parent
            if parent is not None:
                found |= dict.fromkeys(self.untrained([parent]))
            found[owner] = None
        return tuple(found)

    def build(
        self, roles: Collection[str], *, on_progress: OnProgress | None = None
    ) -> dict[str, Path]:
        """Train what is missing, then return the folder of each role asked for.

        Waits for a role that another run is training, and resumes a training that was killed.
        Without `on_progress`, progress is shown on stderr.

        Raises:
            HarnessError: a role is unknown.
            RuntimeError: training failed; the message ends with the log's last lines.
        """
        untrained = self.untrained(roles)
        if untrained and on_progress is not None:
            self._train_all(untrained, on_progress)
        elif untrained:
            steps = {role: self.spec.roles[role].steps for role in untrained}
            with shown_progress(steps) as show:
                self._train_all(untrained, show)
        return {role: self.path(role) for role in roles}

    def _seconds_after(self, role: str, untrained: Collection[str]) -> float:
        """Seconds of the role and of the longest chain of roles tuned from it."""
        children = [r for r in untrained if self.spec.training(r).parent == role]
        return self.seconds(role) + max(
            (self._seconds_after(child, untrained) for child in children), default=0.0
        )

    def _train_all(self, untrained: tuple[str, ...], on_progress: OnProgress) -> None:
        # The longest chain first: started last, it would run alone at the end.
        waiting = sorted(untrained, key=lambda role: -self._seconds_after(role, untrained))
        running: dict[Future[None], str] = {}
        # Workers close before the pool: its exit waits for threads that wait for workers.
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
        parents = {role: self.spec.training(role).parent for role in waiting}
        return [role for role in waiting if (p := parents[role]) is None or self.ready(p)]

    def _train(self, role: str, workers: Workers) -> None:
        final = self.path(role)
        with claimed(final) as claim:
            if self.ready(role):
                return
            shutil.rmtree(final, ignore_errors=True)
            # Resumes from what a killed training left there.
            partial = final.with_name(f"{final.name}.partial")
            partial.mkdir(parents=True, exist_ok=True)
            workers.run(role, self._job(role, partial), partial, claim)
            fit = partial / "fit.json"
            done = json.loads(fit.read_text()) | {"recipe": spec_hash(self.spec, role)}
            (partial / DONE).write_text(json.dumps(done, indent=1))
            for scratch in (fit, partial / RESUME):
                scratch.unlink(missing_ok=True)
            partial.rename(final)

    def _job(self, role: str, folder: Path) -> dict[str, Any]:
        """The fields of `melange.baselines.zoo.fit.Job`, which a plan must not import."""
        parent = self.spec.training(role).parent
        return {
            "spec": asdict(self.spec),
            "role": role,
            "out_dir": str(folder),
            "parent_dir": str(self.path(parent)) if parent else None,
            "num_threads": 1,
        }


def open_trained(spec: ZooSpec, *, cache: Path | None = None) -> TrainedZoo:
    """A zoo whose roles are trained into `cache`, by default the user's."""
    root = cache if cache is not None else cache_dir()
    return TrainedZoo(spec, root.absolute() / "zoo" / spec.name)
