"""The report of a run that is going on, rendered beside it."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from melange.harness.runs.writer import RunFolder

HOME = Path(__file__).parents[2]
"""The folder that holds the package."""
LOW_PRIORITY = 5
"""Of a core that an engine keeps busy, a quarter. A lower one would take as much of the machine,
and so long that the page is there when the evaluation ends."""


class LiveReport:
    """One process at a time renders; it costs the run seconds, and can only fail for itself."""

    def __init__(self, folder: RunFolder, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._thread = ThreadPoolExecutor(1)
        self._next: Future[None] | None = None
        self._child: subprocess.Popen[str] | None = None
        self._closed = False
        self._was_named = False

    def renew(self) -> None:
        """Render what is there now; while a rendering goes on, once more after it."""
        if self._next is None or self._next.running() or self._next.done():
            self._next = self._thread.submit(self._render)

    def wait(self) -> None:
        """Until nothing renders any more."""
        if self._next is not None:
            self._next.result()

    def close(self) -> None:
        """End a rendering that goes on; the files that it has written are whole."""
        self._closed = True
        if self._child is not None:
            self._child.kill()
        self._thread.shutdown(cancel_futures=True)

    def _render(self) -> None:
        try:
            failure = self._run()
        except OSError as error:
            failure = str(error)
        if self._closed:
            return
        if failure:
            self._say(f"the report could not be rendered, the run goes on: {failure}")
        elif not self._was_named:
            self._was_named = True
            self._say(f"report so far: {self._folder.report}")

    def _run(self) -> str:
        """Why it failed; empty where it did not."""
        # A process group of its own: Ctrl-C is for the run, which ends this with itself. The
        # session stays the run's, since Linux weighs priorities within a session only.
        with subprocess.Popen(
            [sys.executable, "-m", "melange.reports", str(self._folder.path.resolve())],
            cwd=HOME,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        ) as child:
            self._child = child
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, child.pid, LOW_PRIORITY)
            if self._closed:
                child.kill()
            _, errors = child.communicate()
        lines = errors.strip().splitlines()
        last = lines[-1] if lines else f"exit code {child.returncode}"
        return last if child.returncode else ""
