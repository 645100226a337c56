"""Progress of trainings: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from tqdm import tqdm

SECONDS_PER_LINE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Sent every few steps; may come from several threads at once."""

    role: str
    step: int
    steps: int
    loss: float


OnProgress = Callable[[Progress], None]


@contextmanager
def shown_progress(steps_by_role: dict[str, int]) -> Iterator[OnProgress]:
    """On stderr: a bar for each role in training, or one line for all every ten seconds."""
    if not sys.stderr.isatty():
        yield _lines(steps_by_role)
        return
    bars: dict[str, tqdm] = {}
    try:
        yield _bars(steps_by_role, bars)
    finally:
        for bar in bars.values():
            bar.close()


def _bars(steps_by_role: dict[str, int], bars: dict[str, tqdm]) -> OnProgress:
    lock = Lock()

    def show(progress: Progress) -> None:
        with lock:
            if progress.role not in bars:
                total = steps_by_role[progress.role]
                bars[progress.role] = tqdm(total=total, desc=progress.role, unit="step")
            bar = bars[progress.role]
            bar.set_postfix(loss=f"{progress.loss:.3f}", refresh=False)
            bar.update(progress.step - bar.n)

    return show


def _lines(steps_by_role: dict[str, int]) -> OnProgress:
    lock, steps, said = Lock(), dict.fromkeys(steps_by_role, 0), [0.0]

    def show(progress: Progress) -> None:
        with lock:
            steps[progress.role] = progress.step
            finished = progress.step == progress.steps
            if not finished and time.monotonic() - said[0] < SECONDS_PER_LINE:
                return
            said[0] = time.monotonic()
            done = sum(step == steps_by_role[role] for role, step in steps.items())
            running = [
                f"{role} {step} of {steps_by_role[role]} steps"
                for role, step in steps.items()
                if 0 < step < steps_by_role[role]
            ]
            parts = [f"{done} of {len(steps)} roles trained", *running]
            print(f"training: {'; '.join(parts)}", file=sys.stderr, flush=True)

    return show
