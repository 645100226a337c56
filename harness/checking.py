"""The runner's side of the check against transformers: its processes, and disputes."""

import multiprocessing
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Lock

from melange.harness.check.process import main
from melange.harness.check.subject import Setting, Subject
from melange.harness.evaluators import TaskEntries, repeatable
from melange.harness.prepare import Prepared
from melange.harness.progress import Progress
from melange.harness.recorder import Recorder
from melange.harness.records import Plan
from melange.harness.runs.writer import RunFolder
from melange.harness.verdicts import Check, Kind, Verdict, by_candidate

LIMIT_SEC = 1800
"""Time limit for one candidate."""
CLOSE_SEC = 5
KINDS: tuple[Kind, ...] = ("likelihood", "generation")


class Checker:
    """A process that checks; restarted if it has died."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._process: BaseProcess | None = None
        self._idle = False
        """Whether it waits for the next subject."""

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        log = self._setting.folder / "check.log"
        process = context.Process(target=main, args=(theirs, log, self._setting), daemon=True)
        process.start()
        theirs.close()
        self._process = process

    def check(self, subject: Subject) -> list[Check]:
        if self._process is None:
            self.start()
        self._idle = False
        try:
            self._connection.send(subject)
            if self._connection.poll(LIMIT_SEC):
                found: list[Check] = self._connection.recv()
                self._idle = True
                return found
            reason = f"transformers had no answer after {LIMIT_SEC} s"
        except (EOFError, OSError):
            reason = "the process that checks died; its output is in check.log"
        self.close()
        return [
            Check(
                candidate=subject.candidate.name, kind=kind, verdict=Verdict.UNCHECKED,
                reason=reason,
            )
            for kind in KINDS
        ]  # fmt: skip

    def close(self) -> None:
        """Let an idle process end, kill a busy one, even while a thread waits for it."""
        if self._process is not None:
            if self._idle:
                self._connection.close()
                self._process.join(CLOSE_SEC)
            self._process.kill()
            self._process.join()
        self._process = None


@dataclass(slots=True)
class Checking:
    """Checks engines' answers against plain transformers', example by example."""

    plan: Plan
    folder: RunFolder
    recorder: Recorder
    progress: Progress
    entries: TaskEntries
    number: int
    """Examples of each kind of request, for each candidate; 0: no check."""
    unchecked: Collection[str] = ()
    """Candidates that were measured but not checked."""
    elapsed_sec: float = 0.0
    _checkers: list[Checker] = field(default_factory=list)
    _stopped: bool = False

    def begin(self, num_slots: int) -> None:
        """Start the processes, which read the tasks while engines work."""
        if not self.number or not (self.unchecked or self._tasks_pending):
            return
        entries = repeatable(self.entries)
        cores = sorted(os.sched_getaffinity(0))
        for slot in range(num_slots):
            setting = Setting(
                self.folder.path.resolve(), entries, self.plan.limit, self.plan.seed,
                self.number, self.plan.device, tuple(cores[slot::num_slots]),
            )  # fmt: skip
            self._checkers.append(Checker(setting))
            self._checkers[-1].start()

    def run(self, prepared: Sequence[Prepared], paths: Mapping[str, Path]) -> bool:
        """Check what the candidates have answered since the last check, and record disputes.
        Returns whether anything was checked."""
        if not self._checkers:
            return False
        start = time.perf_counter()
        self.progress.doing("checking against transformers")
        subjects = iter(self._subjects(prepared, paths))
        lock = Lock()

        def work(checker: Checker) -> None:
            while not self._stopped:
                with lock:
                    subject = next(subjects, None)
                if subject is None:
                    return
                found = checker.check(subject)
                if not self._stopped:
                    self.folder.append_checks(found)

        with ThreadPoolExecutor(len(self._checkers)) as threads:
            try:
                list(threads.map(work, self._checkers))
            except BaseException:
                self.close()
                raise
        self.close()
        self._dispute()
        self.elapsed_sec += time.perf_counter() - start
        return True

    def close(self) -> None:
        self._stopped = True
        for one in self._checkers:
            one.close()
        self._checkers.clear()

    @property
    def _tasks_pending(self) -> bool:
        asked = repeatable(self.entries)
        return any(cell.pending and cell.task in asked for cell in self.plan.cells)

    def _subjects(
        self, prepared: Sequence[Prepared], paths: Mapping[str, Path]
    ) -> Iterator[Subject]:
        """Mixes first, as they take longest."""
        completed, known = self.folder.completed(self.plan.race), by_candidate(self.folder.checks())
        ordered = sorted(prepared, key=lambda one: -one.candidate.recipe.num_models)
        for one in ordered:
            name = one.candidate.name
            tasks = [task for task in repeatable(self.entries) if (name, task) in completed]
            if tasks:
                yield Subject(
                    one.candidate,
                    paths,
                    one.load.checkpoint,
                    one.shape.dtype,
                    tasks,
                    self.plan.engines[name].max_model_len,
                    known.get(name, ()),
                )

    def _dispute(self) -> None:
        """Record a dispute for each cell, with its first example that disagrees."""
        completed = self.folder.completed(self.plan.race)
        first: dict[tuple[str, str | None], Check] = {}
        for one in self.folder.checks():
            if one.verdict is Verdict.DISPUTED and one.cell in completed:
                first.setdefault(one.cell, one)
        for check in first.values():
            self.recorder.dispute(check)
