"""Pairwise preference: how often a reward model ranks the better of two answers above the other.

As RewardBench has it (Lambert et al. 2024, https://arxiv.org/abs/2403.13787), but that equal
rewards count half: a model that rewards everything alike is at chance.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from melange.harness.contracts import Session
from melange.harness.records import Task
from melange.harness.row_draws import drawn_rows
from melange.harness.samples import SampleColumns, SampleRow, TaskResult

SIDES = ("chosen", "rejected")


class Preference:
    """Rows have `prompt`, `chosen` and `rejected`. The prompt with an answer is rewarded."""

    def __init__(
        self,
        tasks: Mapping[str, tuple[Task, Sequence[Any]]],
        tokenizer: Path,
        *,
        limit: int | None,
        seed: int,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._tasks = {name: task for name, (task, _) in tasks.items()}
        self._rows = {name: read_rows(sources) for name, (_, sources) in tasks.items()}
        self._drawn = {
            name: drawn_rows(len(rows), limit, seed=seed, name=name)
            for name, rows in self._rows.items()
        }
        self._encode = AutoTokenizer.from_pretrained(tokenizer).encode

    def evaluate(self, session: Session, tasks: Sequence[str]) -> Iterator[TaskResult]:
        for name in tasks:
            rows = [self._rows[name][at] for at in self._drawn[name]]
            texts = [[self._encode(row["prompt"] + row[side]) for row in rows] for side in SIDES]
            room = session.max_model_len
            better, worse = (
                session.reward([tuple(text[-room:]) for text in of_side]) for of_side in texts
            )
            margins = [one - other for one, other in zip(better, worse, strict=True)]
            scores = [0.5 * (1 + (margin > 0) - (margin < 0)) for margin in margins]
            yield TaskResult(
                name,
                {"pairwise_accuracy": scores, "reward_margin": margins},
                self._samples(self._tasks[name], rows, scores),
                sum(max(map(len, pair)) > room for pair in zip(*texts, strict=True)),
                {"example": self._drawn[name], "margin": margins},
            )

    def _samples(
        self, task: Task, rows: Sequence[Mapping[str, str]], scores: Sequence[float]
    ) -> SampleColumns:
        """The response is the answer with the higher reward."""
        return SampleColumns.of(
            SampleRow(
                prompt=row["prompt"],
                target=row["chosen"],
                response=row["rejected" if score < 0.5 else "chosen"],
                score=score,
                cluster=row[task.cluster_by] if task.cluster_by else "",
            )
            for row, score in zip(rows, scores, strict=True)
        )


def read_rows(sources: Sequence[Any]) -> list[dict[str, str]]:
    """The rows of the test files that the sources name."""
    files = (Path(one["dataset_kwargs"]["data_files"]["test"]) for one in sources)
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]
