"""A worker process seen from the runner."""

import contextlib
import multiprocessing
import os
import signal
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

from melange.harness import last_words
from melange.harness.jobs import Evaluate, Failed, Job, Ready, Reply, Sign, Stage, Start, Stop, Time
from melange.harness.records import EngineShape
from melange.harness.silence import ELSEWHERE
from melange.harness.worker import main

STOP_SEC = 10
ABORT_SEC = 5
"""In which a hung process writes down where it is."""
TICK_SEC = 1.0
PRELOADED = ["melange.harness.engines.preload", "melange.harness.evaluators.lm_eval"]


def preload() -> None:
    """Begin to import what CPU engines need, in the background, once for all workers."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    # Ctrl-C is for the run, which ends its workers: theirs would be a traceback in its terminal.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    forkserver.ensure_running()
    signal.signal(signal.SIGINT, before)


class EngineProcess:
    """Starts a worker, and starts it again when it has died, hung, or broken in a step.

    On a CPU it is forked from a process that has only imported, which saves 20 s of imports an
    engine. CUDA's state does not survive a fork: there a worker is a new process.
    """

    def __init__(self, start: Start, log: Path) -> None:
        self._start_job = start
        self._log = log
        self._process: BaseProcess | None = None
        self._interrupted = False
        self._running: EngineShape | None = None
        self._stage: Stage = "start"
        self.start_sec = 0.0

    def ask(self, job: Evaluate | Time) -> Reply:
        """The worker's answer, `Failed` also where it died or hung while at it.

        An engine that has to start does so with the candidate's own weights: others may be broken.
        """
        return self.start(job.load.start) or self._exchange(job)

    def serves(self, start: Start) -> bool:
        """That engine runs here, or is the next to."""
        return start.shape == self._start_job.shape

    def serve(self, start: Start) -> None:
        """Let the worker close its engine and start this one in its place, at the next job."""
        self._start_job = start

    def start(self, checkpoint: Path) -> Failed | None:
        """Start the worker and its engine if they do not run; `ask` does so too."""
        alive = self._process is not None and self._process.is_alive()
        if alive and self._running == self._start_job.shape:
            return None
        if not alive:
            self._launch()
        reply = self._exchange(self._start_job._replace(checkpoint=checkpoint))
        if isinstance(reply, Ready):
            self.start_sec += reply.start_sec
            self._running = self._start_job.shape
            return None
        assert isinstance(reply, Failed)
        self.close()
        return reply

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def interrupt(self) -> None:
        """End the worker in the middle of its job; whoever waits for its answer gets `Failed`."""
        self._interrupted = True
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(BrokenPipeError, OSError):
            self._connection.send(Stop())
        self._end_within(STOP_SEC)

    def _launch(self) -> None:
        on_cpu = self._start_job.shape.device == "cpu"
        forked, new = (
            multiprocessing.get_context("forkserver"),
            multiprocessing.get_context("spawn"),
        )
        context = forked if on_cpu else new
        self._connection, theirs = context.Pipe()
        process = context.Process(target=main, args=(theirs, self._log), daemon=True)
        process.start()
        theirs.close()
        self._process = process
        if self._interrupted:  # while it started
            process.kill()

    def _exchange(self, job: Job) -> Reply:
        written = self._log.stat().st_size if self._log.exists() else 0
        self._stage = "start" if isinstance(job, Start) else "load"
        try:
            self._connection.send(job)
            reply = self._listen()
        except (EOFError, ConnectionError):
            return self._died(written)
        if reply is None:
            return self._hung(written)
        if not isinstance(reply, Failed):
            return reply
        if reply.engine == "broken":
            self.close()
        return reply._replace(stage=self._stage)

    def _listen(self) -> Reply | None:
        """The worker's answer; None once it has been silent for too long.

        Silence is counted in ticks, not read off a clock: a machine that was suspended, or a run
        that was stopped and goes on, has not waited.
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
        return self._start_job.silence_sec * (1 if self._stage == "work" else ELSEWHERE)

    def _died(self, written: int) -> Failed:
        process = self._process
        assert process is not None
        process.join()
        self._process = None
        code = process.exitcode or 0
        words = ""
        if code > 0:
            words = last_words.of_exception(self._log, written, process.name)
        elif code != -signal.SIGKILL:  # of which nobody hears
            words = last_words.of_signal(self._log, written)
        cause = "; ".join(filter(None, (_cause(code), words)))
        return self._dead(f"the engine process died ({cause})")

    def _hung(self, written: int) -> Failed:
        """The signal makes faulthandler write down where it is, and ends it; a process that
        does not take it is killed."""
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
        return "killed, most likely for memory"
    if code < 0:
        return f"signal {-code}, {signal.Signals(-code).name}"
    return f"exit code {code}"
