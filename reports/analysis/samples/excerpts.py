"""Excerpts of samples, for pages other than the samples browser.

Shape letters: C candidates, N examples.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np

from melange.harness.records import Task
from melange.harness.samples import Sample
from melange.reports.analysis.aggregate import best_possible
from melange.reports.analysis.run import Run
from melange.reports.analysis.samples.table import SampleTable, read_task

Scores = TypeVar("Scores", float, np.ndarray)

TELLING, WRONG, RIGHT = 3, 2, 1
"""Examples on a task's page; wrong and right ones per cell on a candidate's page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellExcerpt:
    """A few of a cell's samples, with the counts over all of them."""

    num_scored: int
    num_right: int
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskExcerpt:
    num_examples: int
    telling: Mapping[int, Mapping[str, Sample]]
    """Example -> candidate -> sample, where candidates disagree most."""
    cells: Mapping[str, CellExcerpt]
    gaps: Mapping[str, str]
    """Candidate -> why it has no samples."""


@dataclass(frozen=True)
class SampleReader:
    """Reads a run's samples one task at a time, and keeps only excerpts in memory."""

    run: Run
    candidates: tuple[str, ...]
    """In the order in which pages show them."""
    _last: dict[str, SampleTable] = field(default_factory=dict)
    _excerpts: dict[str, TaskExcerpt] = field(default_factory=dict)

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """Tasks with a file of samples: each has a page of samples."""
        return tuple(
            task
            for task in self.run.tasks
            if any(self.run.samples_path(name, task) for name in self.candidates)
        )

    def table(self, task: str) -> SampleTable:
        """All samples of the task; kept until another task is asked for."""
        if task not in self._last:
            self._last.clear()
            self._last[task] = read_task(self.run, task, self.candidates)
        return self._last[task]

    def excerpt(self, task: str) -> TaskExcerpt:
        if task not in self._excerpts:
            self._excerpts[task] = excerpt(self.table(task), self.run.tasks[task])
        return self._excerpts[task]


def excerpt(table: SampleTable, task: Task | None) -> TaskExcerpt:
    """The samples that other pages show."""
    good_CN = goodness(table.scores_CN, task)
    return TaskExcerpt(
        num_examples=len(table.examples_N),
        telling={
            int(table.examples_N[row]): {
                name: table.sample(name, row)
                for at, name in enumerate(table.answers)
                if not np.isnan(good_CN[at, row])
            }
            for row in telling_rows(good_CN)
        },
        cells={name: _cell(table, name, good_CN[at]) for at, name in enumerate(table.answers)},
        gaps=table.gaps,
    )


def goodness(scores: Scores, task: Task | None) -> Scores:
    """Scores turned so that 1 is right and 0 wrong, whatever the metric's direction."""
    return scores if task is None or task.higher_is_better else best_possible(task) - scores


def telling_rows(good_CN: np.ndarray) -> list[int]:
    """Rows on which candidates disagree most, by the variance of their scores.

    Examples answered by less than half of the largest number of candidates are left out.
    """
    count_N = (~np.isnan(good_CN)).sum(axis=0)
    # The variance of an example without any score is NaN, with a warning.
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        variance_N = np.nanvar(good_CN, axis=0)
    enough_N = (count_N > 0) & (2 * count_N >= count_N.max(initial=0))
    order = np.argsort(np.where(enough_N, -variance_N, np.inf), kind="stable")
    return [int(row) for row in order[:TELLING] if enough_N[row]]


def _cell(table: SampleTable, candidate: str, good_N: np.ndarray) -> CellExcerpt:
    scored = np.flatnonzero(~np.isnan(good_N))
    wrong, right = scored[good_N[scored] < 1], scored[good_N[scored] >= 1]
    rows = sorted(int(row) for row in (*wrong[:WRONG], *right[:RIGHT]))
    return CellExcerpt(
        num_scored=len(scored),
        num_right=len(right),
        samples=tuple(table.sample(candidate, row) for row in rows),
    )
