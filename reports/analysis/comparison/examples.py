"""Pairs the scored examples of a cell in two runs. Shape letter: N examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from melange.harness.errors import HarnessError
from melange.harness.runs.samples import read_samples
from melange.reports.analysis.comparison.match import same_documents
from melange.reports.analysis.run import Run

if TYPE_CHECKING:
    import pyarrow as pa

QUESTION = ("prompt", "target")
UNREADABLE = " cannot be read: "
PROMPTS_DIFFER = "prompts differ, though the task and its documents are the same"
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
    """This run's cluster names; None if all examples are independent."""
    note: str = ""
    """What a reader has to know of them."""

    @property
    def units(self) -> int:
        """The number of clusters, or of examples if all are independent."""
        return len(self.examples_N if self.clusters_N is None else set(self.clusters_N))


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
    before = _kept(old, candidate, task, "the baseline")
    now = _kept(new, candidate, task, "this run")
    if isinstance(before, str) or isinstance(now, str):
        return before if isinstance(before, str) else str(now)
    return (
        _explained(_other_examples(before, now), old, new)
        or _other_texts(before, now, same_task=same_documents(old, new, task))
        or Pairs(
            examples_N=_numbers(now, "example"),
            old_N=_numbers(before, "score"),
            new_N=_numbers(now, "score"),
            clusters_N=_clusters(now),
            note=PROMPTS_DIFFER if _num_differing(before, now, "prompt") else "",
        )
    )


def _kept(run: Run, candidate: str, task: str, where: str) -> "pa.Table | str":
    """The cell's samples, or why there are none to rely on. The reason is the same for all cells
    with one cause."""
    try:
        table = _columns(run, candidate, task, PAIRED)
    except HarnessError as error:  # only this cell is lost; the others can still be compared
        return f"the samples of {where} cannot be read: {str(error).partition(UNREADABLE)[2]}"
    if table is None:
        return f"no samples were kept in {where}"
    return _stale(run, table, candidate, task, where) or table


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


def _explained(mismatch: str, old: Run, new: Run) -> str:
    """With the reason, where the runs took their rows in different ways."""
    then, now = old.manifest, new.manifest
    if not mismatch or now.limit is None or then.limit_rows == now.limit_rows:
        return mismatch
    rows = {"first": "the first rows of each task", "drawn": "rows drawn by its seed"}
    return (
        f"other examples: the baseline has {rows[then.limit_rows]}, this run {rows[now.limit_rows]}"
    )


def _other_examples(old: "pa.Table", new: "pa.Table") -> str:
    """Why the rows are of other examples."""
    then_N, now_N = _numbers(old, "example"), _numbers(new, "example")
    if len(set(now_N)) < len(now_N):
        return "this run kept an example twice"
    if not np.array_equal(then_N, now_N):
        shared = len(np.intersect1d(then_N, now_N))
        return (
            f"the runs scored other examples: {len(then_N)} and {len(now_N)}, "
            f"{shared} of them the same"
        )
    return ""


def _other_texts(old: "pa.Table", new: "pa.Table", *, same_task: bool) -> str:
    """Why the same numbers are other questions: another version of the task.

    If the task and its documents are known to be the same, other prompts come from the program, and
    the answers to them are what a comparison is for.
    """
    columns = ("target",) if same_task else QUESTION
    differing = _num_differing(old, new, *columns)
    if not differing:
        return ""
    what = (
        "targets differ, though its documents are the same"
        if same_task
        else ("prompts or targets differ")
    )
    return f"another version of the task: {differing} of its {what}"


def _num_differing(old: "pa.Table", new: "pa.Table", *columns: str) -> int:
    then, now = (table.select(list(columns)) for table in (old, new))
    if then.equals(now):
        return 0
    return sum(left != right for left, right in zip(then.to_pylist(), now.to_pylist(), strict=True))


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
