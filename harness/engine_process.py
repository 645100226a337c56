"""A worker process seen from the runner."""

import contextlib
import multiprocessing
import signal
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

from harness.jobs import Failed, Job, Ready, Reply, Start, Stop
from harness.worker import main

STOP_SEC = 10
PRELOADED = ["harness.engines.preload", "harness.lm_eval_bridge"]


def preload() -> None:
    """Begin to import what CPU engines need, in the background, once for all workers."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    # Ctrl-C is for the run, which ends its workers: theirs would be a traceback in its terminal.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    forkserver.ensure_running()
    signal.signal(signal.SIGINT, before)


class EngineProcess:
    """Starts a worker, and starts it again when it has died.

    On a CPU it is forked from a process that has only imported, which saves 20 s of imports an
    engine. CUDA's state does not survive a fork: there a worker is a new process.
    """

    def __init__(self, start: Start, log: Path) -> None:
        self._start_job = start
        self._log = log
        self._process: BaseProcess | None = None
        self._interrupted = False
        self._started: Start | None = None
        self.start_sec = 0.0

    def ask(self, job: Job) -> Reply:
        """The worker's answer, `Failed` also where it died while at it."""
        started = self.start()
        return started if isinstance(started, Failed) else self._exchange(job)

    def serves(self, start: Start) -> bool:
        """That engine runs here, or is the next to."""
        return start.shape == self._start_job.shape

    def serve(self, start: Start) -> None:
        """Let the worker close its engine and start this one in its place, at the next job."""
        self._start_job = start

    def start(self) -> Failed | None:
        """Start the worker and its engine if they do not run; `ask` does so too."""
        alive = self._process is not None and self._process.is_alive()
        if alive and self._started == self._start_job:
            return None
        if not alive:
            self._launch()
        reply = self._exchange(self._start_job)
        if isinstance(reply, Ready):
            self.start_sec += reply.start_sec
            self._started = self._start_job
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
        self._process.join(STOP_SEC)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process = None

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
        assert self._process is not None
        written = self._log.stat().st_size if self._log.exists() else 0
        try:
            self._connection.send(job)
            reply: Reply = self._connection.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode
            self._process = None
            words = _last_words(self._log, written)
            return Failed(
                f"the engine process died ({_cause(code)}{words}); its output is in "
                f"{self._log.name}"
            )
        return reply


def _cause(code: int | None) -> str:
    if code == -signal.SIGKILL:
        return "killed, most likely for memory"
    if code is not None and code < 0:
        return f"signal {-code}, {signal.Signals(-code).name}"
    return f"exit code {code}"


def _last_words(log: Path, since: int) -> str:
    """What Python said of a deadly signal, with the innermost line; empty where it said nothing."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(since)
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    fatal = next((i for i, line in enumerate(lines) if line.startswith("Fatal Python error")), None)
    if fatal is None:
        return ""
    place = next((line for line in lines[fatal:] if line.startswith("File ")), "")
    return f"; {lines[fatal]}, {place}".rstrip(", ")
