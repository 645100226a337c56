"""What a running training reports, and bars that show it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from tqdm import tqdm


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Sent every few steps; may come from several threads at once."""

    role: str
    step: int
    steps: int
    loss: float


OnProgress = Callable[[Progress], None]


@contextmanager
def progress_bars(steps_by_role: dict[str, int]) -> Iterator[OnProgress]:
    """A bar for each role that is training; tqdm estimates what remains."""
    bars: dict[str, tqdm] = {}
    lock = Lock()

    def show(progress: Progress) -> None:
        with lock:
            if progress.role not in bars:
                total = steps_by_role[progress.role]
                bars[progress.role] = tqdm(total=total, desc=progress.role, unit="step")
            bar = bars[progress.role]
            bar.set_postfix(loss=f"{progress.loss:.3f}", refresh=False)
            bar.update(progress.step - bar.n)

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()
