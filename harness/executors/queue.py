"""Decides which job runs next in which slot."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, NamedTuple, Protocol, TypeVar

from melange.harness.executors.jobs import Job, Reply
from melange.harness.loads import Load
from melange.harness.records import EngineShape

WORTH_AN_ENGINE = 4
"""Fewer jobs than this are done in the running engine sooner than a second one starts."""


class Shaped(Protocol):
    @property
    def shape(self) -> EngineShape: ...

    @property
    def load(self) -> Load: ...


class Waiting(NamedTuple):
    job: Job
    future: Future[Reply]

    @property
    def shape(self) -> EngineShape:
        return self.job.shape

    @property
    def load(self) -> Load:
        return self.job.load


Member = TypeVar("Member", bound=Shaped)


class Queue(Generic[Member]):
    """Hands out jobs so that few engines are started. Thread-safe."""

    def __init__(self, members: Iterable[Member] = ()) -> None:
        self._waiting = list(members)
        self._served: dict[int, Member] = {}
        """By slot, its last job; removed when it finds no more."""
        self._lock = Lock()

    def put(self, members: Iterable[Member]) -> None:
        with self._lock:
            self._waiting.extend(members)

    def next(self, slot: int) -> Member | None:
        """A job of the candidate that the slot has loaded; else of its shape; else of a shape that
        no slot serves; else one that another slot would do later."""
        with self._lock:
            mine = self._served.get(slot)
            others = {one.shape for owner, one in self._served.items() if owner != slot}
            chosen = (
                self._first(lambda one: mine is not None and one.load is mine.load)
                or self._first(lambda one: mine is not None and one.shape == mine.shape)
                or self._first(lambda one: one.shape not in others)
                or self._first(lambda one: self._count(one.shape) >= WORTH_AN_ENGINE)
            )
            if chosen is None:
                self._served.pop(slot, None)
                return None
            self._waiting.remove(chosen)
            self._served[slot] = chosen
            return chosen

    def close(self) -> list[Member]:
        """Hand out no more jobs; return those that wait."""
        with self._lock:
            rest, self._waiting = self._waiting, []
            return rest

    def _first(self, wanted: Callable[[Member], bool]) -> Member | None:
        return next((one for one in self._waiting if wanted(one)), None)

    def _count(self, shape: EngineShape) -> int:
        return sum(one.shape == shape for one in self._waiting)
