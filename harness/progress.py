"""A run's progress on one line: cells done, what runs now, the time left."""

import sys
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from threading import Event, Lock, Thread

from tqdm import tqdm

from melange.harness.records import Plan
from melange.harness.time_left import time_left

CLEAR_REST = "\x1b[K"
TICK_SEC = 1.0
PLAIN_SEC = 10.0
"""Without a terminal, the least time between two lines."""


class Progress:
    """A line that is redrawn in place on a terminal; elsewhere, occasional plain lines.

    Thread-safe. stdout and stderr share the terminal's line, so it is drawn only if both are
    terminals.
    """

    def __init__(self, plan: Plan) -> None:
        wanted = [cell for cell in plan.cells if not cell.refused]
        self.left = time_left(plan)
        self._total = len(wanted)
        self._done = sum(cell.done for cell in wanted)
        suite = plan.suite
        self._may_end_early = bool(suite.target_relative_error or suite.target_ratio_error)
        self._doing = ""
        self._running: Callable[[], Iterable[str]] = tuple
        self._lock = Lock()
        self._changed = self._said = time.perf_counter()
        self._bar: tqdm | None = None
        self._closed, self._still = Event(), False
        if sys.stdout.isatty() and sys.stderr.isatty():
            self._bar = tqdm(
                total=self._total, initial=self._done, leave=False, dynamic_ncols=True,
                bar_format="{bar:16} {desc}",
            )  # fmt: skip
            Thread(target=self._tick, daemon=True).start()

    def say(self, text: str) -> None:
        """Print a permanent line above the progress line."""
        if self._bar is not None:
            tqdm.write(text)
        else:
            with suppress(BrokenPipeError):  # `| head`: a closed pipe must not end the run
                print(text, flush=True)

    def doing(
        self, text: str, running: Callable[[], Iterable[str]] = tuple, *, still: bool = False
    ) -> None:
        """What the run is doing now, and `running`: with which candidates. `still`: do not redraw
        the line by itself, which would disturb what is being timed."""
        self._doing, self._running, self._still = text, running, still
        self._show()

    def ended(self, cells: int, said: str) -> None:
        """That many cells have ended; print `said`."""
        with self._lock:
            self._done += cells
        self._changed = time.perf_counter()
        if self._bar is None:
            self._said = self._changed
            said += f" ({self._count()})"
        self.say(said)
        self._show()

    def dropped(self, candidate: str, cells: int) -> None:
        """The candidate failed before it ran: its cells are over."""
        self.left.tasks.drop(candidate)
        self.left.visits.drop(candidate)
        self._done += cells

    def will_time(self, candidates: Collection[str]) -> None:
        """Of those that are timed as one, only the first is timed."""
        self.left.visits.units = {
            name: number for name, number in self.left.visits.units.items() if name in candidates
        }

    def visited(self, candidate: str, seconds: float) -> None:
        """The candidate was timed in one round."""
        self.left.visits.finish(candidate, 1, seconds)
        self._changed = time.perf_counter()
        self._show()

    def timed(self, candidates: Iterable[str], cells: int) -> None:
        """Rounds of these candidates are over; there may have been fewer than planned."""
        for name in candidates:
            self.left.visits.drop(name)
        self._done += cells
        self._show()

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._closed.set()
        if self._bar is not None:
            self._bar.close()
            print(CLEAR_REST, end="", file=sys.stderr, flush=True)  # clears an echoed ^C

    def _tick(self) -> None:
        while not self._closed.wait(TICK_SEC):
            if not self._still:
                self._show()

    def _show(self) -> None:
        text = f"{self._count()}: {self._now()}"
        if self._bar is not None:
            self._bar.n = min(self._done, self._total)
            self._bar.set_description_str(text)
        elif time.perf_counter() - self._said >= PLAIN_SEC:
            self._said = time.perf_counter()
            self.say(text)

    def _count(self) -> str:
        count = f"{self._done} of {self._total} cells"
        seconds = self.left.seconds
        if seconds is not None:
            seconds -= time.perf_counter() - self._changed
        # Once the estimate is used up, saying nothing is better than "0 s left".
        if seconds is None or seconds < 1:
            return count
        return f"{count}, {'at most' if self._may_end_early else 'about'} {spoken(seconds)} left"

    def _now(self) -> str:
        return " ".join([self._doing, ", ".join(self._running())]).strip()


def spoken(seconds: float) -> str:
    """`40 s`, `3 min`, `2 h 10 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
