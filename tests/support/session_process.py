"""An engine session in its own process, so that its GPU memory is freed when it ends."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from melange.harness.recipes.logit_mix import LogitMix
from melange.harness.records import EngineShape
from melange.harness.requests import Completion, Generation, Request, Score

_opened: list[Any] = []
"""This process's session; empty in the parent process."""


class Graphs(NamedTuple):
    """How the engine runs a step."""

    eager: bool
    mode: str
    num_captured: int


class SessionProcess:
    def __init__(
        self, folder: Path, shape: EngineShape, prepare: Callable[[], None] | None = None
    ) -> None:
        """`prepare` runs first in the process, before vllm is imported."""
        spawn = get_context("spawn")
        self._process = ProcessPoolExecutor(1, mp_context=spawn, initializer=prepare)
        try:
            self._process.submit(_open, folder, shape).result()
        except Exception:
            self.close()  # frees its GPU memory for the next engine
            raise

    def reopen(self, folder: Path, shape: EngineShape) -> None:
        """Opens another engine in the same process; only on a CPU, where memory is freed."""
        self._process.submit(_reopen, folder, shape).result()

    def load(self, folder: Path, mix: LogitMix | None = None, members: Sequence[Path] = ()) -> None:
        self._process.submit(_load, folder, mix, members).result()

    def generate(self, generations: Sequence[Generation]) -> list[Completion]:
        return self._process.submit(_generate, generations).result()

    def score(self, requests: Sequence[Request]) -> list[Score]:
        return self._process.submit(_score, requests).result()

    def graphs(self) -> Graphs:
        return self._process.submit(_graphs).result()

    def close(self) -> None:
        self._process.shutdown()


def _open(folder: Path, shape: EngineShape) -> None:
    from melange.harness.engines.session import EngineSession

    _opened.append(EngineSession(folder, shape))


def _reopen(folder: Path, shape: EngineShape) -> None:
    _opened.pop().close()
    _open(folder, shape)


def _load(folder: Path, mix: LogitMix | None, members: Sequence[Path]) -> None:
    _opened[0].load(folder, mix, members)


def _generate(generations: Sequence[Generation]) -> list[Completion]:
    completions: list[Completion] = _opened[0].generate(generations)
    return completions


def _score(requests: Sequence[Request]) -> list[Score]:
    scores: list[Score] = _opened[0].score(requests)
    return scores


def _graphs() -> Graphs:
    from vllm.compilation.counter import compilation_counter

    config = _opened[0]._llm.llm_engine.vllm_config
    return Graphs(
        eager=bool(config.model_config.enforce_eager),
        mode=config.compilation_config.cudagraph_mode.name,
        num_captured=compilation_counter.num_cudagraph_captured,
    )
