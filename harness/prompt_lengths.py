"""How long the tasks' requests are, by tokenizer: what decides how much context an engine serves.

Counted where contexts are long, or given: short ones are served whole, and nobody has to know.
"""

import multiprocessing
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from melange.harness.evaluators import TaskEntries, repeatable
from melange.harness.requests import Length


class PromptLengths:
    """Lengths by task, counted once a tokenizer in a process that imports lm-eval."""

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
        # Not in this one: lm-eval and its imports take seconds, and hundreds of megabytes.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as process:
            counting = process.submit(
                _count, dict(entries), tokenizer, limit=self._limit, seed=self._seed
            )
            return counting.result()


def _count(
    entries: TaskEntries, tokenizer: Path, *, limit: int | None, seed: int
) -> Mapping[str, Length]:
    # The process is only for this; lm-eval and its data sets draw progress bars.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    from melange.harness.evaluators.lm_eval.lengths import longest_requests

    return longest_requests(entries, tokenizer, limit=limit, seed=seed)
