"""The process that holds an engine. It may die: the runner then starts another."""

import contextlib
import faulthandler
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from pkgutil import resolve_name
from threading import RLock
from typing import TYPE_CHECKING

from tqdm import tqdm

from melange.harness.checkpoints.built import ensure
from melange.harness.contracts import Evaluator
from melange.harness.errors import HarnessError
from melange.harness.evaluators import EVALUATORS, by_evaluator
from melange.harness.jobs import (
    Evaluate,
    Evaluated,
    Failed,
    Job,
    Load,
    Ready,
    Reply,
    Sign,
    Stage,
    Start,
    Stop,
    Time,
    Timed,
)
from melange.harness.measure.energy import EnergyMeter, spent
from melange.harness.measure.memory import Gauge
from melange.harness.measure.speed import Round, requests_of, time_workload
from melange.harness.measure.yardstick import yardstick_sec
from melange.harness.panel import Panel
from melange.harness.records import EngineShape, Workload
from melange.harness.requests import Completion, Generation, Request, Route, Score, Tokens
from melange.harness.samples import TaskResult

if TYPE_CHECKING:
    from melange.harness.engines.session import Session

REASON_CHARS = 500
SIGN_SEC = 1.0
"""Signs of life are as far apart at least."""
_KEPT: list["Worker"] = []
"""Its engine is not freed object by object as `main` returns, which takes a second: a forked
process ends without that."""
WARM_UP_TOKENS = 32
"""A request's output before the first round: kernels are prepared for each size of batch when it
first comes, and longer outputs bring no other sizes."""


def main(connection: Connection, log: Path) -> None:
    """Serve jobs until told to stop. What libraries print goes to `log`."""
    _redirect_output(log)
    faulthandler.enable()  # into the log: where it was when a signal ended it
    # The default takes semaphores, of which Python complains at the run's end if this is killed.
    tqdm.set_lock(RLock())
    worker = Worker(connection.send)
    _KEPT.append(worker)
    while not isinstance(job := connection.recv(), Stop):
        try:
            connection.send(worker.do(job))
        except Exception as error:  # one candidate's failure; the runner records it and goes on
            traceback.print_exc()
            connection.send(Failed(_reason(error), "broken" if worker.broken else "well"))
    worker.leave()


class Worker:
    """An engine and the tasks' requests, ready for one candidate after the other.

    The requests depend on the tokenizer alone, so that engines of several shapes share them.
    """

    def __init__(self, send: Callable[[Sign], None] = lambda sign: None) -> None:
        """`send` takes the signs of life that it gives while it is at a job."""
        self._send = send
        self._stage: Stage = "start"
        self._last_sign = 0.0
        self._start_job: Start | None = None
        self._sessions: dict[EngineShape, Session] = {}
        """One, or those of a panel's parts."""
        self._evaluators: dict[str, Evaluator] = {}
        self._tokenizer_key = ""
        """Of the evaluators."""
        self._warm = False
        self.broken = False
        """Its engine raised in the middle of a step, or of loading weights: it is of no more use
        to anybody."""

    def do(self, job: Job) -> Reply:
        match job:
            case Start():
                return self._start(job)
            case Evaluate():
                return self._evaluate(job)
            case Time():
                return self._time(job)
            case _:
                raise AssertionError(f"no such job: {job}")

    def leave(self) -> None:
        """Before the process ends, which frees the rest."""
        for session in self._sessions.values():
            session.leave()

    def alive(self) -> None:
        """It gets on."""
        now = time.monotonic()
        if now - self._last_sign >= SIGN_SEC:
            self._last_sign = now
            self._send(Sign(self._stage))

    def _enter(self, stage: Stage) -> None:
        self._stage, self._last_sign = stage, 0.0
        self.alive()

    def _break(self) -> None:
        self.broken = True

    def _start(self, job: Start) -> Ready:
        _take_cores(job.cores)
        from melange.harness.engines.session import Session
        from melange.harness.engines.steps import watch_steps

        self._enter("start")
        watch_steps(done=self.alive, failed=self._break)
        start = time.perf_counter()
        self._close_all()
        self._start_job, self._warm = job, False
        self._sessions[job.shape] = Session(job.checkpoint, job.shape)
        return Ready(time.perf_counter() - start)

    def _close_all(self) -> None:
        while self._sessions:
            self._sessions.popitem()[1].close()

    def _evaluate(self, job: Evaluate) -> Evaluated:
        session = self._load(job.load)
        self._enter("tasks")
        clocked = ClockedSession(session, self._enter)
        assert self._start_job is not None
        results: list[TaskResult] = []
        for name, tasks in by_evaluator(job.tasks, self._start_job.tasks).items():
            results += self._evaluator(name, job.load.tokenizer).evaluate(clocked, tasks)
        return Evaluated(results, clocked.busy_sec)

    def _evaluator(self, name: str, tokenizer: Path) -> Evaluator:
        """Opened once a tokenizer."""
        from melange.harness.evaluators.tokenizers import tokenizer_key

        key, start = tokenizer_key(tokenizer), self._start_job
        if self._tokenizer_key != key:
            self._evaluators, self._tokenizer_key = {}, key
        if name not in self._evaluators:
            assert start is not None
            tasks = {task: one for task, one in start.tasks.items() if one[0].evaluator == name}
            self._evaluators[name] = resolve_name(EVALUATORS[name].open)(
                tasks, tokenizer, limit=start.limit, seed=start.seed, alive=self.alive
            )
        return self._evaluators[name]

    def _time(self, job: Time) -> Timed:
        session = self._load(job.load)
        self._enter("work")
        assert self._start_job is not None
        device = self._start_job.shape.device
        if not self._warm:
            shortened = [_shortened(one) for one in job.workloads]
            _run_all(session, shortened, seed=job.seed, meter=EnergyMeter(device))
            self._warm = True
        meter = EnergyMeter(device)
        beside = yardstick_sec(device)
        gauge = Gauge(device)
        rounds = _run_all(session, job.workloads, seed=job.seed, meter=meter)
        pools = [one.kv_pool_bytes for one in self._sessions.values()]
        footprint = gauge.read(sum(pools))
        return Timed(rounds, footprint, beside, meter.missing)

    def _load(self, load: Load) -> "Session | Panel":
        """What answers for the candidate."""
        if load.panel is not None:
            return Panel(load, self._serve)
        assert self._start_job is not None
        if len(self._sessions) > 1:  # one that ends takes the others' process groups with it
            self._close_all()
        return self._serve(load, self._start_job.shape)

    def _serve(self, load: Load, shape: EngineShape) -> "Session":
        """An engine with these weights, which are built where they are not there yet."""
        from melange.harness.engines.session import Session

        if shape not in self._sessions:
            self._enter("start")
            self._sessions[shape] = Session(load.start, shape)
        session = self._sessions[shape]
        self._enter("load")
        if load.making is not None:
            ensure(load.checkpoint, load.making.build)
        try:
            session.load(load.checkpoint, load.mix, load.members)
        except HarnessError:
            raise
        except Exception:
            self._break()  # half of the weights may be another candidate's
            raise
        return session


class ClockedSession:
    """A session that adds up the seconds spent inside the engine."""

    def __init__(
        self, session: "Session | Panel", enter: Callable[[Stage], None] = lambda stage: None
    ) -> None:
        self._session = session
        self._enter = enter
        self.busy_sec = 0.0

    @property
    def max_model_len(self) -> int:
        return self._session.max_model_len

    def score(self, requests: Sequence[Request]) -> list[Score]:
        with self._clock():
            return self._session.score(requests)

    def generate(self, generations: Sequence[Generation]) -> list[Completion]:
        with self._clock():
            return self._session.generate(generations)

    def reward(self, texts: Sequence[Tokens]) -> list[float]:
        with self._clock():
            return self._session.reward(texts)

    def route(self, texts: Sequence[Tokens]) -> list[Route]:
        with self._clock():
            return self._session.route(texts)

    @contextlib.contextmanager
    def _clock(self):  # type: ignore[no-untyped-def]
        self._enter("work")
        start = time.perf_counter()
        try:
            yield
        finally:
            self.busy_sec += time.perf_counter() - start
        self._enter("tasks")


def _run_all(
    session: "Session | Panel", workloads: Sequence[Workload], *, seed: int, meter: EnergyMeter
) -> dict[str, Round]:
    rounds = {}
    for workload in workloads:
        generations = requests_of(workload, vocabulary=session.vocabulary, seed=seed)
        session.forget_prefixes()  # a cached prompt would make prefill look free
        before = meter.joules()
        timed = time_workload(session, generations)
        rounds[workload.name] = timed._replace(energy_joules=spent(before, meter.joules()))
    return rounds


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


def _redirect_output(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, sys.stdout.fileno())
    os.dup2(handle, sys.stderr.fileno())
