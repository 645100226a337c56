"""A session over the sessions of a composite's parts, asked in turn."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from melange.harness.contracts import TimedSession
from melange.harness.loads import Load
from melange.harness.records import EngineShape
from melange.harness.requests import Completion, Generation, Request, Route, Score, Timing, Tokens

Serve = Callable[[Load, EngineShape], TimedSession]
"""Returns an engine of this shape with these weights; what it served before is gone."""


class Panel:
    """Its clock counts seconds inside engines, not reloads: a deployment would keep all loaded."""

    def __init__(self, load: Load, serve: Serve) -> None:
        assert load.panel is not None
        self._recipe, self._seats, self._serve = load.panel, load.seats, serve
        self._forgets = False
        self.busy_sec = 0.0
        self.max_model_len = min(seat.shape.max_model_len for seat in load.seats)

    def __len__(self) -> int:
        return len(self._seats)

    def seat(self, at: int) -> "TimedPart":
        """The part's session, valid until the next part is asked for."""
        seat = self._seats[at]
        session = self._serve(seat.load, seat.shape)
        if self._forgets:
            session.forget_prefixes()
        return TimedPart(session, self)

    def __iter__(self) -> Iterator["TimedPart"]:
        return (self.seat(at) for at in range(len(self._seats)))

    def generate(self, generations: Sequence[Generation]) -> list[Completion]:
        before = self.busy_sec
        found = self._recipe.generate(self, generations)
        elapsed_sec = self.busy_sec - before
        # No answer is known before the last part has answered.
        return [one._replace(timing=Timing(elapsed_sec, elapsed_sec)) for one in found]

    def score(self, requests: Sequence[Request]) -> list[Score]:
        return self._recipe.score(self, requests)

    def reward(self, texts: Sequence[Tokens]) -> list[float]:
        raise NotImplementedError  # an ability that no composite has

    def route(self, texts: Sequence[Tokens]) -> list[Route]:
        raise NotImplementedError

    # The rest of TimedSession.

    kv_pool_bytes = None
    """None, because the parts are served in turn."""

    def clock(self) -> float:
        return self.busy_sec

    @cached_property
    def vocabulary(self) -> int:
        """The smallest of the parts'; loads each part once."""
        return min(one.session.vocabulary for one in self)

    def forget_prefixes(self) -> None:
        """Every part forgets them whenever it is asked."""
        self._forgets = True


class TimedPart:
    """A part's session, which adds its seconds to the panel's clock."""

    def __init__(self, session: TimedSession, panel: Panel) -> None:
        self.session, self._panel = session, panel

    def generate(self, generations: Sequence[Generation]) -> list[Completion]:
        start = time.perf_counter()
        found = self.session.generate(generations)
        self._panel.busy_sec += time.perf_counter() - start
        return found

    def score(self, requests: Sequence[Request]) -> list[Score]:
        start = time.perf_counter()
        found = self.session.score(requests)
        self._panel.busy_sec += time.perf_counter() - start
        return found
