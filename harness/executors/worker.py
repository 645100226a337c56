"""The worker, which runs jobs in engines, and main() of its process."""

import faulthandler
import os
import sys
import time
import traceback
from collections.abc import Callable, Set
from multiprocessing.connection import Connection
from pathlib import Path
from pkgutil import resolve_name
from threading import RLock
from typing import TYPE_CHECKING, cast

from tqdm import tqdm

from melange.harness.checkpoints.built import ensure
from melange.harness.contracts import Evaluator, SharingEvaluator
from melange.harness.errors import HarnessError
from melange.harness.evaluators import EVALUATORS, by_evaluator
from melange.harness.executors.clocked_session import ClockedSession
from melange.harness.executors.jobs import (
    NO_TASKS,
    Drive,
    Driven,
    Evaluate,
    Evaluated,
    Failed,
    Job,
    Ready,
    Reply,
    Sign,
    Stage,
    Start,
    TaskSet,
    Time,
    Timed,
    Took,
    Weigh,
    Weighed,
)
from melange.harness.loads import Load
from melange.harness.measure.activations import activation_bytes
from melange.harness.measure.collectors import watched_round
from melange.harness.measure.memory import attributed
from melange.harness.measure.open_loop import drive
from melange.harness.measure.speed import fresh_requests, time_workload
from melange.harness.panel import Panel
from melange.harness.records import EngineShape, Workload
from melange.harness.samples import TaskResult

if TYPE_CHECKING:
    from melange.harness.engines.session import EngineSession

REASON_CHARS = 500
SIGN_SEC = 1.0
"""Least time between two signs of life."""
_KEPT: list["Worker"] = []
"""Keeps the worker alive as `main` returns: freeing its engine object by object takes a second, and
a forked process ends without it."""
WARM_UP_REQUESTS = 8
"""Before an open loop, whose own first requests are left out as well."""
WARM_UP_TOKENS = 32
"""Output tokens of warm-up requests: kernels are prepared for each batch size when it first occurs,
and longer outputs bring no other sizes."""


def main(connection: Connection, log: Path, cores: tuple[int, ...]) -> None:
    """Receive a TaskSet, then jobs until None. What libraries print goes to `log`. `cores`: those
    that the process may use; all if empty."""
    redirect_output(log)
    faulthandler.enable()  # writes a traceback to the log on a fatal signal
    # The default takes semaphores, of which Python complains at the run's end if this is killed.
    tqdm.set_lock(RLock())
    _take_cores(cores)
    worker = Worker(connection.recv(), connection.send)
    _KEPT.append(worker)
    while (job := connection.recv()) is not None:
        connection.send(worker.do(job))
    worker.leave()


class Worker:
    """Runs an executor's jobs, one at a time. If the engine that a job needs is not running, it
    replaces the one that is.

    The tasks' requests depend only on the tokenizer, so they are kept across engines.
    """

    def __init__(
        self, tasks: TaskSet = NO_TASKS, send: Callable[[Sign], None] = lambda sign: None
    ) -> None:
        """`send` receives signs of life during jobs."""
        self._tasks = tasks
        self._send = send
        self._stage: Stage = "start"
        self._last_sign = 0.0
        self._sessions: dict[EngineShape, EngineSession] = {}
        """One, or one for each part of a panel."""
        self._weights_met: set[tuple[Path, ...]] = set()
        """What this process has loaded so far, in whichever engine."""
        self._evaluators: dict[str, Evaluator] = {}
        self._tokenizer_key = ""
        """Of the evaluators."""
        self._warm = False
        self._is_first = True
        self._start_sec = 0.0  # of the job, so far
        self._broken = False

    def do(self, job: Job) -> Reply:
        """The reply, `Failed` if the job broke. A worker whose engine broke must be replaced."""
        start, self._start_sec = time.perf_counter(), 0.0
        self._enter("load")
        reply = self._try(job)
        took = Took(time.perf_counter() - start, self._start_sec, self._is_first)
        self._is_first = False
        return reply._replace(took=took)

    def _try(self, job: Job) -> Reply:
        try:
            match job:
                case Start():
                    self._keep({job.shape})
                    if job.shape not in self._sessions:
                        self._start(job.load, job.shape)
                    return Ready()
                case Evaluate():
                    return self._evaluate(job)
                case Time():
                    return self._time(job)
                case Drive():
                    return self._drive(job)
                case Weigh():
                    return self._weigh(job)
        except Exception as error:  # one candidate's failure; the runner records it and goes on
            traceback.print_exc()
            return Failed(_reason(error), "broken" if self._broken else "well", self._stage)

    def leave(self) -> None:
        """Called before the process ends, which frees the rest."""
        for session in self._sessions.values():
            session.leave()

    def alive(self) -> None:
        """Send a sign of life, unless one was sent just now."""
        now = time.monotonic()
        if now - self._last_sign >= SIGN_SEC:
            self._last_sign = now
            self._send(Sign(self._stage))

    def _enter(self, stage: Stage) -> None:
        self._stage, self._last_sign = stage, 0.0
        self.alive()

    def _break(self) -> None:
        self._broken = True

    def _keep(self, wanted: Set[EngineShape]) -> None:
        """Close all engines if one of them is not wanted: closing one destroys the others' process
        groups."""
        if self._sessions.keys() - wanted:
            self._warm = False
            while self._sessions:
                self._sessions.popitem()[1].close()

    def _evaluate(self, job: Evaluate) -> Evaluated:
        session = self._load(job.load, job.shape)
        self._enter("tasks")
        clocked = ClockedSession(session, self._enter)
        results: list[TaskResult] = []
        for name, tasks in by_evaluator(job.tasks, self._tasks.entries).items():
            evaluator = self._evaluator(name, job.load.tokenizer)
            if job.share is None:
                results += evaluator.evaluate(clocked, tasks)
            else:
                results += cast(SharingEvaluator, evaluator).evaluate(clocked, tasks, job.share)
        return Evaluated(results, clocked.busy_sec)

    def _evaluator(self, name: str, tokenizer: Path) -> Evaluator:
        """The evaluator of this name, opened once per tokenizer."""
        from melange.harness.evaluators.tokenizers import tokenizer_key

        key = tokenizer_key(tokenizer)
        if self._tokenizer_key != key:
            self._evaluators, self._tokenizer_key = {}, key
        if name not in self._evaluators:
            entries, limit, seed = self._tasks
            tasks = {task: one for task, one in entries.items() if one[0].evaluator == name}
            self._evaluators[name] = resolve_name(EVALUATORS[name].open)(
                tasks, tokenizer, limit=limit, seed=seed, alive=self.alive
            )
        return self._evaluators[name]

    def _time(self, job: Time) -> Timed:
        session = self._load(job.load, job.shape)
        self._enter("work")
        if not self._warm:
            for workload in map(_shortened, job.workloads):
                time_workload(session, fresh_requests(session, workload, seed=job.seed))
            self._warm = True
        rounds, readings = watched_round(session, job.shape.device, job.workloads, seed=job.seed)
        return Timed(rounds, attributed(readings, alone=len(self._weights_met) == 1))

    def _weigh(self, job: Weigh) -> Weighed:
        session = self._load(job.load, job.shape)
        self._enter("work")
        return Weighed(activation_bytes(session, job.shape.device, job.workloads, seed=job.seed))

    def _drive(self, job: Drive) -> Driven:
        session = self._serve(job.load, job.shape)
        self._enter("work")
        for workload in job.workloads:
            few = _shortened(workload.model_copy(update={"num_requests": WARM_UP_REQUESTS}))
            time_workload(session, fresh_requests(session, few, seed=job.seed))
        return Driven({one.name: drive(session, one, seed=job.seed) for one in job.workloads})

    def _load(self, load: Load, shape: EngineShape) -> "EngineSession | Panel":
        """The session that answers for the candidate."""
        self._keep({seat.shape for seat in load.seats} or {shape})
        if load.panel is not None:
            return Panel(load, self._serve)
        return self._serve(load, shape)

    def _serve(self, load: Load, shape: EngineShape) -> "EngineSession":
        """An engine with these weights, which are built first if they do not exist."""
        if shape not in self._sessions:
            self._start(load, shape)
        session = self._sessions[shape]
        self._enter("load")
        if load.making is not None:
            ensure(load.checkpoint, load.making.build)
        self._weights_met.add((load.checkpoint, *load.members))
        try:
            session.load(load.checkpoint, load.mix, load.members)
        except HarnessError:
            raise
        except Exception:
            self._break()  # some weights may still be the previous candidate's
            raise
        return session

    def _start(self, load: Load, shape: EngineShape) -> None:
        """Started with the candidate's own weights: others may be broken."""
        from melange.harness.engines.session import EngineSession
        from melange.harness.engines.steps import watch_steps

        self._enter("start")
        watch_steps(done=self.alive, failed=self._break)
        self._weights_met.add((load.start, *load.members))
        start = time.perf_counter()
        try:
            self._sessions[shape] = EngineSession(load.start, shape)
        except Exception:
            self._break()
            raise
        self._start_sec += time.perf_counter() - start


def _shortened(workload: Workload) -> Workload:
    output_tokens = min(workload.output_tokens, WARM_UP_TOKENS)
    return workload.model_copy(update={"output_tokens": output_tokens})


def _take_cores(cores: tuple[int, ...]) -> None:
    """OpenMP has read its number of threads already where the process was forked."""
    if cores:
        os.sched_setaffinity(0, cores)
        os.environ["OMP_NUM_THREADS"] = str(len(cores))
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(len(cores))


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    name = "" if isinstance(error, HarnessError) else f"{type(error).__name__}: "
    return f"{name}{text}"[:REASON_CHARS]


def redirect_output(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, sys.stdout.fileno())
    os.dup2(handle, sys.stderr.fileno())
