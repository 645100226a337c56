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
"""A niceness: about a quarter of a core that an engine keeps busy. A higher one would cost as much,
and the page would be ready only when the evaluation ends."""


class LiveReport:
    """Renders in one process at a time. Costs the run seconds; a failure does not affect it."""

    def __init__(self, folder: RunFolder, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._thread = ThreadPoolExecutor(1)
        self._next: Future[None] | None = None
        self._child: subprocess.Popen[str] | None = None
        self._closed = False
        self._was_named = False

    def renew(self) -> None:
        """Render the current results; if a rendering is under way, once more after it."""
        if self._next is None or self._next.running() or self._next.done():
            self._next = self._thread.submit(self._render)

    def wait(self) -> None:
        """Return when no rendering is under way."""
        if self._next is not None:
            self._next.result()

    def close(self) -> None:
        """Kill a rendering that is under way; files that it has written are complete."""
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
        """Why it failed; empty if it did not."""
        # In its own process group Ctrl-C does not reach it: the run ends it. It stays in the run's
        # session, since Linux compares priorities only within a session.
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
