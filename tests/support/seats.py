"""A panel of parts with fixed answers."""

from collections.abc import Sequence
from typing import Any

from melange.harness.requests import Completion, Generation, Request, Score


class Seats:
    """Parts with fixed answers."""

    def __init__(self, texts: Sequence[str] = (), scores: Sequence[Sequence[float]] = ()) -> None:
        self.texts, self.scores = texts, scores
        self.asked: list[Generation] = []

    def __len__(self) -> int:
        return len(self.texts or self.scores)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return (self.seat(at) for at in range(len(self)))

    def seat(self, at: int) -> Any:
        seats = self

        class Seat:
            def generate(self, batch: Sequence[Generation]) -> list[Completion]:
                seats.asked += batch
                return [Completion(seats.texts[at], ()) for _ in batch]

            def score(self, batch: Sequence[Request]) -> list[Score]:
                values = seats.scores[at]
                return [Score(value, False) for value in values[: len(batch)]]

        return Seat()
