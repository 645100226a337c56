"""The runner's side of a worker process."""

import contextlib
import multiprocessing
import os
import signal
import time
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from melange.harness.executors import last_words
from melange.harness.executors.jobs import NO_TASKS, Failed, Job, Reply, Sign, Stage, TaskSet, Took
from melange.harness.executors.silence import ELSEWHERE, FLOOR_SEC, silence_limit
from melange.harness.executors.worker import main
from melange.harness.records import EngineShape

STOP_SEC = 10
ABORT_SEC = 5
"""How long a hung process has to write a traceback."""
TICK_SEC = 1.0
PRELOADED = ["melange.harness.engines.preload", "melange.harness.evaluators.lm_eval"]


def preload() -> None:
    """Start importing what CPU engines need, in the background, once for all workers."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    # Ctrl-C ends the run, which ends its workers; they would print tracebacks to its terminal.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    forkserver.ensure_running()
    signal.signal(signal.SIGINT, before)


class EngineProcess:
    """Starts a worker, and restarts it after it died or hung, or a step failed.

    On a CPU it is forked from a process that has done the imports, which saves 20 s per engine.
    CUDA's state does not survive a fork, so on a GPU a worker is a new process.
    """

    def __init__(self, log: Path, tasks: TaskSet = NO_TASKS, cores: tuple[int, ...] = ()) -> None:
        """`cores`: those that the worker may use; all if empty."""
        self._log, self._tasks, self._cores = log, tasks, cores
        self._process: BaseProcess | None = None
        self._interrupted = False
        self.is_busy = False
        self._shape: EngineShape | None = None
        """Of the last job."""
        self._stage: Stage = "start"
        self._silence_sec = FLOOR_SEC

    def ask(self, job: Job, silence_sec: float | None = None) -> Reply:
        """The worker's reply; `Failed` also if it died or hung.

        `silence_sec`: a worker is ended if its engine finishes no step for so long; see silence.py.
        """
        self._silence_sec = silence_limit(0) if silence_sec is None else silence_sec
        if job.shape.device == "cuda" and job.shape != self._shape:
            self.close()  # the only sure way to free a GPU's memory
        self._shape, self._stage, self.is_busy = job.shape, "load", True
        began = time.perf_counter()
        if self._process is None or not self._process.is_alive():
            self._launch(on_cpu=job.shape.device == "cpu")
        reply = self._exchange(job)
        self.is_busy = False
        if isinstance(reply, Failed) and reply.engine == "dead":
            return reply._replace(took=Took(time.perf_counter() - began))
        return reply

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def interrupt(self) -> None:
        """End the worker for good, even during a job; who waits for its reply gets `Failed`."""
        self._interrupted = True
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """End the worker, at once if it is at a job: nobody waits for the reply."""
        if self._process is None:
            return
        if self.is_busy:
            self._process.kill()
        with contextlib.suppress(BrokenPipeError, OSError):
            self._connection.send(None)
        self._end_within(STOP_SEC)

    def _launch(self, *, on_cpu: bool) -> None:
        context: Any = multiprocessing.get_context("forkserver" if on_cpu else "spawn")
        self._connection, theirs = context.Pipe()
        arguments = (theirs, self._log, self._cores)
        process: BaseProcess = context.Process(target=main, args=arguments, daemon=True)
        process.start()
        theirs.close()
        self._process, self._stage = process, "start"
        if self._interrupted:  # while it started
            process.kill()
        with contextlib.suppress(ConnectionError):  # if it is dead, the next job finds out
            self._connection.send(self._tasks)

    def _exchange(self, job: Job) -> Reply:
        written = self._log.stat().st_size if self._log.exists() else 0
        try:
            self._connection.send(job)
            reply = self._listen()
        except (EOFError, ConnectionError):
            return self._died(written)
        if reply is None:
            return self._hung(written)
        if isinstance(reply, Failed) and reply.engine == "broken":
            self.is_busy = False
            self.close()
        return reply

    def _listen(self) -> Reply | None:
        """The worker's reply; None once it has been silent for too long.

        Silence is counted in ticks, not read off a clock: the time in which the machine was
        suspended, or the run stopped, does not count.
        """
        silent_sec = 0.0
        tick_sec = min(TICK_SEC, self._limit_sec / 10)
        while silent_sec < self._limit_sec:
            if not self._connection.poll(tick_sec):
                silent_sec += tick_sec
                continue
            said: Reply | Sign = self._connection.recv()
            if not isinstance(said, Sign):
                return said
            self._stage, silent_sec = said.stage, 0.0
        return None

    @property
    def _limit_sec(self) -> float:
        return self._silence_sec * (1 if self._stage == "work" else ELSEWHERE)

    def _died(self, written: int) -> Failed:
        process = self._process
        assert process is not None
        process.join()
        self._process = None
        code = process.exitcode or 0
        words = ""
        if code > 0:
            words = last_words.of_exception(self._log, written, process.name)
        elif code != -signal.SIGKILL:  # which leaves no trace
            words = last_words.of_signal(self._log, written)
        cause = "; ".join(filter(None, (_cause(code), words)))
        return self._dead(f"the engine process died ({cause})")

    def _hung(self, written: int) -> Failed:
        """SIGABRT makes faulthandler write a traceback and ends the process; if it does not, the
        process is killed."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid or 0, signal.SIGABRT)
        self._end_within(ABORT_SEC)
        at = f" at {found}" if (found := last_words.place(self._log, written)) else ""
        limit = f"{self._limit_sec:.3g} s"
        return self._dead(f"the engine hung{at}: no sign of life for {limit}, so it was ended")

    def _dead(self, reason: str) -> Failed:
        reason = f"{reason}; its output is in {self._log.name}"
        return Failed(reason, engine="dead", stage=self._stage)

    def _end_within(self, seconds: float) -> None:
        assert self._process is not None
        self._process.join(seconds)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process = None


def _cause(code: int) -> str:
    if code == -signal.SIGKILL:
        return "killed, most likely out of memory"
    if code < 0:
        return f"signal {-code}, {signal.Signals(-code).name}"
    return f"exit code {code}"
