"""All samples of a task, read column by column and aligned by example number.

Texts stay Arrow bytes from the file to the page and never become Python strings, so that a
million of them take seconds and invalid UTF-8 does no harm.
Shape letter: N examples.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from melange.harness.errors import HarnessError
from melange.harness.runs.samples import read_samples
from melange.harness.samples import Sample
from melange.reports.analysis.run import Run

TEXTS = ("prompt", "target", "response")
WHOLE = ("answer", "filtered", "texts")
FILTERED = "filtered:"
"""Begins the name of a column with what one filter left."""
BETWEEN_TEXTS = "\n\n────\n\n"
NO_FILE = "no samples were kept for this cell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """One candidate's answers to a task; null for an example that it lacks."""

    scores_N: np.ndarray
    """The primary metric, float64, NaN where missing."""
    responses_N: pa.Array
    logprobs_N: pa.Array | None
    """A list of float32 per example (nats, one per choice); None if the file has none."""
    own_prompts_N: pa.Array | None
    """Prompts that differ from the task's, null for others; None if none differ."""
    own_targets_N: pa.Array | None
    whole_N: pa.Array | None = None
    """Generated text before the task's filters, null where they left it as it was; None if they
    always did, or in runs of earlier versions."""
    filtered: Mapping[str, pa.Array] = field(default_factory=dict)
    """What each filter left of it, by name; empty if the task has only one."""
    texts_N: pa.Array | None = None
    """All texts, joined, where there were several: repeats, or ballots of a vote."""


@dataclass(frozen=True, kw_only=True)
class SampleTable:
    """A task's examples, and each candidate's answers."""

    examples_N: np.ndarray
    """Numbers of all examples with an answer, int64, ascending."""
    prompts_N: pa.Array
    """From the first candidate that has the example."""
    targets_N: pa.Array
    answers: Mapping[str, Answers]
    gaps: Mapping[str, str]
    """Candidate -> why it has no samples."""

    @cached_property
    def scores_CN(self) -> np.ndarray:
        """Candidates in the order of `answers`; NaN where missing."""
        rows = [answers.scores_N for answers in self.answers.values()]
        return np.stack(rows) if rows else np.empty((0, len(self.examples_N)))

    def sample(self, candidate: str, row: int) -> Sample:
        """An example as the candidate saw and answered it; `row` counts from 0."""
        answers = self.answers[candidate]
        logprobs = answers.logprobs_N[row].as_py() if answers.logprobs_N is not None else None
        # Read from the run's own files, so not validated again.
        return Sample.model_construct(
            example=int(self.examples_N[row]),
            prompt=_text(row, answers.own_prompts_N, self.prompts_N),
            target=_text(row, answers.own_targets_N, self.targets_N),
            response=_text(row, answers.responses_N),
            logprobs=tuple(logprobs) if logprobs else None,
            score=float(answers.scores_N[row]),
            answer="" if answers.whole_N is None else _text(row, answers.whole_N),
        )


def _text(row: int, *columns: pa.Array | None) -> str:
    """From the first column that has one."""
    texts = (column[row].as_py() for column in columns if column is not None)
    found: bytes = next((text for text in texts if text is not None), b"")
    return found.decode("utf-8", errors="replace")


def read_task(run: Run, task: str, candidates: Iterable[str]) -> SampleTable:
    """These candidates' samples; a missing or unreadable file becomes a gap."""
    columns, gaps = _Columns(), {}
    cells: dict[str, Mapping[str, pa.Array]] = {}
    for candidate in candidates:
        try:
            cells[candidate] = columns.read(run, candidate, task)
        except HarnessError as error:
            gaps[candidate] = str(error)
    return _aligned(cells, gaps)


@dataclass(frozen=True)
class _Columns:
    """Reads cells; candidates with the same prompts share one column in memory."""

    seen: dict[str, list[pa.Array]] = field(default_factory=dict)

    def read(self, run: Run, candidate: str, task: str) -> Mapping[str, pa.Array]:
        """The cell's columns, rows by example number.

        Raises:
            HarnessError: there is no file, it cannot be read, or it lacks a column.
        """
        path = run.samples_path(candidate, task)
        if path is None:
            quality = run.quality(candidate, task)
            raise HarnessError(quality.reason if quality.value is None else NO_FILE)
        table = read_samples(path, ("example", *TEXTS, "score", "logprobs", *WHOLE))
        if not len(table):
            raise HarnessError(f"samples/{candidate}/{task}.parquet holds no example")
        return {name: self._shared(name, a) for name, a in _ordered(table).items()}

    def _shared(self, name: str, array: pa.Array) -> pa.Array:
        if name not in ("example", "prompt", "target"):
            return array
        known = self.seen.setdefault(name, [])
        same = next((one for one in known if one.equals(array)), None)
        if same is None:
            known.append(array)
        return array if same is None else same


def _ordered(table: pa.Table) -> dict[str, pa.Array]:
    """Columns of fixed types, sorted by example number; of duplicates, the first."""
    columns = {
        "example": table.column("example").cast(pa.int64()),
        "score": table.column("score").cast(pa.float64()),
        **{name: table.column(name).cast(pa.large_binary()) for name in TEXTS},
    }
    if "logprobs" in table.column_names and table.column("logprobs").null_count < len(table):
        columns["logprobs"] = table.column("logprobs").cast(pa.large_list(pa.float32()))
    columns |= dict(_whole(table))
    arrays = {name: pa.concat_arrays(column.chunks) if column.num_chunks else
              pa.array([], column.type) for name, column in columns.items()}  # fmt: skip
    numbers = arrays["example"].to_numpy()
    if len(numbers) < 2 or (np.diff(numbers) > 0).all():
        return arrays
    first = pa.array(np.unique(numbers, return_index=True)[1])
    return {name: array.take(first) for name, array in arrays.items()}


def _whole(table: pa.Table) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """Optional columns of texts that the task's filters had before them, and left."""
    kept = {name: table.column(name) for name in WHOLE if name in table.column_names}
    if "answer" in kept:
        answer = kept["answer"].cast(pa.large_binary())
        changed = pc.not_equal(answer, table.column("response").cast(pa.large_binary()))
        whole = pc.if_else(pc.and_(changed, pc.greater(pc.binary_length(answer), 0)), answer, None)
        if whole.null_count < len(table):
            yield "whole", whole
    if "filtered" in kept and pa.types.is_struct(kept["filtered"].type):
        for one in kept["filtered"].type:
            left = pc.struct_field(kept["filtered"], one.name)
            yield FILTERED + one.name, left.cast(pa.large_binary())
    if "texts" in kept and kept["texts"].null_count < len(table):
        joined = pc.binary_join(kept["texts"].cast(pa.list_(pa.string())), BETWEEN_TEXTS)
        yield "texts", joined.cast(pa.large_binary())


def _aligned(cells: Mapping[str, Mapping[str, pa.Array]], gaps: Mapping[str, str]) -> SampleTable:
    numbers = [cell["example"].to_numpy() for cell in cells.values()]
    examples_N = np.unique(np.concatenate(numbers)) if numbers else np.empty(0, np.int64)
    rows = {name: _Rows(examples_N, cell) for name, cell in cells.items()}
    prompts_N = _first_known([row.column("prompt") for row in rows.values()])
    targets_N = _first_known([row.column("target") for row in rows.values()])
    answers = {
        name: Answers(
            scores_N=row.scores_N,
            responses_N=row.column("response"),
            logprobs_N=row.column("logprobs") if "logprobs" in cells[name] else None,
            own_prompts_N=_differing(row.column("prompt"), prompts_N),
            own_targets_N=_differing(row.column("target"), targets_N),
            whole_N=row.column("whole") if "whole" in cells[name] else None,
            filtered={
                key.removeprefix(FILTERED): row.column(key)
                for key in cells[name]
                if key.startswith(FILTERED)
            },
            texts_N=row.column("texts") if "texts" in cells[name] else None,
        )
        for name, row in rows.items()
    }
    return SampleTable(
        examples_N=examples_N, prompts_N=prompts_N, targets_N=targets_N, answers=answers, gaps=gaps
    )


@dataclass(frozen=True)
class _Rows:
    """Aligns a cell's rows with all of the task's examples."""

    examples_N: np.ndarray
    cell: Mapping[str, pa.Array]

    @cached_property
    def _take(self) -> pa.Array | None:
        """Each example's row in the cell, null if it has none; None if rows are the same."""
        own = self.cell["example"].to_numpy()
        if len(own) == len(self.examples_N):
            return None
        at_N = np.searchsorted(own, self.examples_N)
        missing_N = ~np.isin(self.examples_N, own)
        return pa.array(np.where(missing_N, 0, at_N), mask=missing_N)

    def column(self, name: str) -> pa.Array:
        array = self.cell[name]
        return array if self._take is None else array.take(self._take)

    @cached_property
    def scores_N(self) -> np.ndarray:
        # Null becomes NaN.
        return self.column("score").to_numpy(zero_copy_only=False).astype(np.float64)


def _first_known(columns: Sequence[pa.Array]) -> pa.Array:
    """Each example's text from the first column that has one."""
    found = columns[0] if columns else pa.array([], pa.large_binary())
    for column in columns[1:]:
        if not found.null_count:
            break
        found = pc.coalesce(found, column)
    return found


def _differing(own: pa.Array, shared: pa.Array) -> pa.Array | None:
    if own is shared or own.equals(shared):
        return None
    differs = pc.fill_null(pc.not_equal(own, shared), False)
    return pc.if_else(differs, own, None) if pc.any(differs).as_py() else None
