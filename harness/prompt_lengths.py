"""Lengths of the tasks' requests by tokenizer, from which an engine's context length follows.

Counted only if the model's context is long, or one is asked for: short ones are served in full.
"""

import multiprocessing
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from melange.harness.evaluators import TaskEntries, repeatable
from melange.harness.requests import Length


class PromptLengths:
    """Lengths by task, counted once per tokenizer, in a process that imports lm-eval."""

    def __init__(self, entries: Callable[[], TaskEntries], *, limit: int | None, seed: int) -> None:
        self._entries = entries
        self._limit, self._seed = limit, seed
        self._known: dict[Path, Mapping[str, Length]] = {}

    def of(self, tokenizer: Path) -> Mapping[str, Length]:
        if tokenizer not in self._known:
            self._known[tokenizer] = self._count(tokenizer)
        return self._known[tokenizer]

    def _count(self, tokenizer: Path) -> Mapping[str, Length]:
        entries = repeatable(self._entries())
        if not entries:
            return {}
        # In another process: lm-eval and its imports take seconds and hundreds of megabytes.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as process:
            counting = process.submit(
                _count, dict(entries), tokenizer, limit=self._limit, seed=self._seed
            )
            return counting.result()


def _count(
    entries: TaskEntries, tokenizer: Path, *, limit: int | None, seed: int
) -> Mapping[str, Length]:
    # Silences the progress bars of lm-eval and datasets, in this process of its own.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    from melange.harness.evaluators.lm_eval.lengths import longest_requests

    return longest_requests(entries, tokenizer, limit=limit, seed=seed)
