"""Training processes: starting, locking a folder against other runs, cleaning up."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from melange.baselines.zoo.progress import OnProgress, Progress
from melange.baselines.zoo.spec import HOME

MAX_WORKERS = 16


def num_workers() -> int:
    return min(MAX_WORKERS, len(os.sched_getaffinity(0)))


@dataclass(slots=True)
class Workers:
    """The training processes of one build; they end when the `with` block does."""

    on_progress: OnProgress
    _children: list[subprocess.Popen[str]] = field(default_factory=list)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            if child.poll() is None:
                child.terminate()

    def run(self, role: str, job: Mapping[str, object], folder: Path, claim: IO[str]) -> None:
        """Train into `folder`, return when it is complete. Thread-safe.

        The child inherits the lock: if it outlives a killed parent, nobody else writes to its
        folder meanwhile.

        Raises:
            RuntimeError: training failed; the message ends with the log's last lines.
        """
        job_file, log = folder / "job.json", folder.with_suffix(".log")
        job_file.write_text(json.dumps(job))
        with log.open("w") as errors:
            child = _start(job_file, errors, claim)
            self._children.append(child)
            self._follow(child)
        if child.wait() != 0:
            raise RuntimeError(f"training {role} failed ({child.returncode}): {_tail(log)}")
        log.unlink()
        job_file.unlink()

    def _follow(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        with child.stdout as lines:
            for line in lines:
                # Libraries print too; only lines of JSON are ours.
                if line.startswith("{"):
                    self.on_progress(Progress(**json.loads(line)))


@contextmanager
def claimed(path: Path) -> Iterator[IO[str]]:
    """Lock a folder against other runs.

    The lock is released once this process and all that inherited it have ended.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def _start(job_file: Path, errors: IO[str], claim: IO[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "melange.baselines.zoo.fit", str(job_file)],
        cwd=HOME,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        pass_fds=(claim.fileno(),),
    )


def _tail(log: Path) -> str:
    return " / ".join(log.read_text().splitlines()[-3:])
