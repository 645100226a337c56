"""A session that serves one request after the other, each in the same time."""

from collections.abc import Sequence

from melange.harness.requests import Completion, Generation, Streamed, Timing


class SingleServer:
    """With Poisson arrivals, an M/D/1 queue. Tokens come at equal distances; nothing waits."""

    vocabulary = 100
    kv_pool_bytes = None
    max_model_len = 64

    def __init__(self, service_sec: float) -> None:
        self.service_sec = service_sec

    def clock(self) -> float:
        return 0.0

    def forget_prefixes(self) -> None:
        pass

    def generate(self, generations: Sequence[Generation]) -> list[Completion]:
        return [Completion("", (7,), Timing(0.1, 0.1)) for _ in generations]

    def serve(self, generations: Sequence[Generation], due_sec: Sequence[float]) -> list[Streamed]:
        found, free = [], 0.0
        for one, due in zip(generations, due_sec, strict=True):
            start = max(due, free)
            free = start + self.service_sec
            step = self.service_sec / one.max_tokens
            pieces = tuple(start + step * (at + 1) for at in range(one.max_tokens))
            found.append(Streamed(due, start, pieces, one.max_tokens))
        return found
