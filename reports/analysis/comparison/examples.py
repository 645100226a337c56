"""Pairs the scored examples of a cell in two runs. Shape letter: N examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from melange.harness.errors import HarnessError
from melange.harness.runs.samples import read_samples
from melange.reports.analysis.run import Run

if TYPE_CHECKING:
    import pyarrow as pa

QUESTION = ("prompt", "target")
ALONE = "\0"
"""Begins the cluster name of an example that has no cluster."""
PAIRED = ("example", "score", *QUESTION, "cluster")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """The same examples, scored in both runs."""

    examples_N: np.ndarray
    old_N: np.ndarray
    new_N: np.ndarray
    clusters_N: np.ndarray | None = None
    """This run's cluster names; None if no example has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An example with each run's answer."""

    example: int
    prompt: str
    target: str
    old_response: str
    new_response: str
    old_score: float
    new_score: float


def pair_up(old: Run, new: Run, candidate: str, task: str) -> Pairs | str:
    """The cell's examples, or why they cannot be paired."""
    try:
        before, now = (_columns(run, candidate, task, PAIRED) for run in (old, new))
    except HarnessError as error:  # only this cell is lost; the others can still be compared
        return str(error)
    if before is None or now is None:
        return f"no samples were kept in {'the baseline' if before is None else 'this run'}"
    return (
        _stale(old, before, candidate, task, "the baseline")
        or _stale(new, now, candidate, task, "this run")
        or _mismatch(before, now)
        or Pairs(
            examples_N=_numbers(now, "example"),
            old_N=_numbers(before, "score"),
            new_N=_numbers(now, "score"),
            clusters_N=_clusters(now),
        )
    )


def _clusters(table: "pa.Table") -> np.ndarray | None:
    """An example without a cluster gets one of its own."""
    if "cluster" not in table.column_names:
        return None
    shared_N = np.array(table["cluster"].to_pylist(), dtype=object)
    if not shared_N.astype(bool).any():
        return None
    numbers = table["example"].to_pylist()
    alone_N = np.array([f"{ALONE}{number}" for number in numbers], dtype=object)
    return np.where(shared_N.astype(bool), shared_N, alone_N)


def _stale(run: Run, table: "pa.Table", candidate: str, task: str, where: str) -> str:
    """Why the samples are not those of the recorded mean: another attempt wrote them."""
    recorded = run.quality(candidate, task)
    if recorded.n is not None and recorded.n != len(table):
        return f"{where} recorded {recorded.n} examples and kept {len(table)} samples"
    if not np.isfinite(_numbers(table, "score")).all():
        return f"{where} has samples without a score"
    return ""


def _mismatch(old: "pa.Table", new: "pa.Table") -> str:
    """Why the rows differ: other examples, or another prompt or target under the same number, which
    means another version of the task."""
    then_N, now_N = _numbers(old, "example"), _numbers(new, "example")
    if len(set(now_N)) < len(now_N):
        return "this run kept an example twice"
    if not np.array_equal(then_N, now_N):
        shared = len(np.intersect1d(then_N, now_N))
        return (
            f"the runs scored other examples: {len(then_N)} and {len(now_N)}, "
            f"{shared} of them the same"
        )
    then, now = (table.select(list(QUESTION)) for table in (old, new))
    if then.equals(now):
        return ""
    differing = sum(
        left != right for left, right in zip(then.to_pylist(), now.to_pylist(), strict=True)
    )
    return f"another version of the task: {differing} of its prompts or targets differ"


def _numbers(table: "pa.Table", name: str) -> np.ndarray:
    return table[name].to_numpy()


def questions(
    old: Run, new: Run, candidate: str, task: str, examples: Sequence[int]
) -> list[Question]:
    """The given examples with their texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def rows(run: Run) -> dict[int, dict[str, Any]]:
        table = _columns(run, candidate, task, ("example", *QUESTION, "response", "score"))
        assert table is not None, "a change has examples only where samples were kept"
        chosen = table.filter(pc.is_in(table["example"], pa.array(examples, pa.int64())))
        return {row["example"]: row for row in chosen.to_pylist()}

    before, now = rows(old), rows(new)
    return [
        Question(
            example=number,
            prompt=now[number]["prompt"],
            target=now[number]["target"],
            old_response=before[number]["response"],
            new_response=now[number]["response"],
            old_score=before[number]["score"],
            new_score=now[number]["score"],
        )
        for number in examples
    ]


def _columns(run: Run, candidate: str, task: str, names: Sequence[str]) -> "pa.Table | None":
    """The named columns, as far as the file has them, sorted by example; None if there is no file.

    Raises:
        HarnessError: the file cannot be read, or lacks a column that every run writes.
    """
    path = run.samples_path(candidate, task)
    return None if path is None else read_samples(path, names)
