"""Engine processes, and who of the candidates runs next in which."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Generic, Protocol, TypeVar

import psutil

from melange.harness.executors.jobs import Failed, Start
from melange.harness.executors.process import EngineProcess
from melange.harness.prepare import Prepared
from melange.harness.records import EngineShape

WORTH_AN_ENGINE = 4
"""Fewer candidates than this finish sooner in the running engine than a second one starts."""


class Shaped(Protocol):
    @property
    def shape(self) -> EngineShape: ...


Member = TypeVar("Member", bound=Shaped)


@dataclass(slots=True)
class EnginePool:
    """Engines, started when first asked for: one a slot, or one a shape.

    A slot owns a share of the cores.
    """

    start: Callable[[EngineShape, tuple[int, ...]], Start]
    log: Path
    num_slots: int
    all_bytes: int
    """Of all shapes' engines, and another one a slot."""
    share_device: bool = True
    """Engines may be alive side by side: not on a GPU, whose memory one engine claims."""
    _by_slot: dict[int, EngineProcess] = field(default_factory=dict)
    _by_shape: dict[EngineShape, EngineProcess] = field(default_factory=dict)

    def engine(self, shape: EngineShape, slot: int) -> EngineProcess:
        """The slot's only engine. The process outlives it, with the tasks' requests, on a CPU; on a
        GPU it ends, since only that surely frees the memory."""
        start = self.start(shape, self._cores(slot))
        process = self._by_slot.setdefault(slot, EngineProcess(start, self.log))
        if not process.serves(start):
            if not self.share_device:
                process.close()
            process.serve(start)
        return process

    def fits_all(self) -> bool:
        """All shapes' engines can be alive at once."""
        return self.share_device and self.all_bytes < psutil.virtual_memory().total

    def start_together(self, members: Sequence[Prepared]) -> list[Failed | None]:
        """Start the engines of these side by side."""
        engines = [self.home_engine(one.shape) for one in members]
        checkpoints = [one.load.start for one in members]
        with ThreadPoolExecutor(self.num_slots) as threads:
            return list(threads.map(EngineProcess.start, engines, checkpoints))

    def home_engine(self, shape: EngineShape) -> EngineProcess:
        """The shape's only engine, in a slot that it keeps; the shapes share out the slots."""
        if shape not in self._by_shape:
            if not self.fits_all():
                self.close()
            cores = self._cores(len(self._by_shape) % self.num_slots)
            self._by_shape[shape] = EngineProcess(self.start(shape, cores), self.log)
        return self._by_shape[shape]

    def interrupt(self) -> None:
        """End the engines in the middle of what they do, also beside threads that ask them."""
        for process in self._processes:
            process.interrupt()

    def close(self) -> None:
        for process in self._processes:
            process.close()
        self._by_slot.clear()
        self._by_shape.clear()

    @property
    def start_sec(self) -> float:
        return sum(process.start_sec for process in self._processes)

    @property
    def _processes(self) -> list[EngineProcess]:
        return [*self._by_slot.values(), *self._by_shape.values()]

    def _cores(self, slot: int) -> tuple[int, ...]:
        cores = sorted(os.sched_getaffinity(0))
        return tuple(cores[slot :: self.num_slots])


class Queue(Generic[Member]):
    """Hands out members so that engines are started as rarely as possible. Thread-safe."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._waiting = list(members)
        self._served: dict[int, EngineShape] = {}
        self._lock = Lock()

    def next(self, slot: int) -> Member | None:
        """One of the slot's shape; else of a shape that nobody serves; else help another slot."""
        with self._lock:
            mine = self._served.get(slot)
            others = {shape for owner, shape in self._served.items() if owner != slot}
            chosen = (
                self._first(lambda shape: shape == mine)
                or self._first(lambda shape: shape not in others)
                or self._first(lambda shape: self._count(shape) >= WORTH_AN_ENGINE)
            )
            if chosen is None:
                self._served.pop(slot, None)
                return None
            self._waiting.remove(chosen)
            self._served[slot] = chosen.shape
            return chosen

    def close(self) -> None:
        """Hand out no more."""
        with self._lock:
            self._waiting.clear()

    def _first(self, wanted: Callable[[EngineShape], bool]) -> Member | None:
        return next((one for one in self._waiting if wanted(one.shape)), None)

    def _count(self, shape: EngineShape) -> int:
        return sum(one.shape == shape for one in self._waiting)
