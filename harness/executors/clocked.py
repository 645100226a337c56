"""A session that knows how long its engine worked."""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from melange.harness.executors.jobs import Stage
from melange.harness.panel import Panel
from melange.harness.requests import Completion, Generation, Request, Route, Score, Tokens

if TYPE_CHECKING:
    from melange.harness.engines.session import EngineSession


class ClockedSession:
    """A session that sums the seconds inside the engine."""

    def __init__(
        self, session: "EngineSession | Panel", enter: Callable[[Stage], None] = lambda stage: None
    ) -> None:
        self._session = session
        self._enter = enter
        self.busy_sec = 0.0

    @property
    def max_model_len(self) -> int:
        return self._session.max_model_len

    def score(self, requests: Sequence[Request]) -> list[Score]:
        with self._clock():
            return self._session.score(requests)

    def generate(self, generations: Sequence[Generation]) -> list[Completion]:
        with self._clock():
            return self._session.generate(generations)

    def reward(self, texts: Sequence[Tokens]) -> list[float]:
        with self._clock():
            return self._session.reward(texts)

    def route(self, texts: Sequence[Tokens]) -> list[Route]:
        with self._clock():
            return self._session.route(texts)

    @contextlib.contextmanager
    def _clock(self):  # type: ignore[no-untyped-def]
        self._enter("work")
        start = time.perf_counter()
        try:
            yield
        finally:
            self.busy_sec += time.perf_counter() - start
        self._enter("tasks")
