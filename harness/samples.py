"""Scored examples, singly and as a task's columns."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from melange.harness.records import Record


class Sample(Record):
    """One scored example, as kept in samples/<candidate>/<task>.parquet."""

    example: int
    prompt: str
    target: str
    response: str
    """Generated text, or the choice with the highest log-probability."""
    logprobs: tuple[float, ...] | None = None
    """Log-probability of each choice, or of the one continuation (nats); None for generation."""
    score: float
    cluster: str = ""
    """Equal for examples that are not independent of each other; empty if there are none."""
    answer: str = ""
    """Generated text before the task's filters; empty for choices."""


class SampleColumns(NamedTuple):
    """A task's samples, a column for each field of `Sample`, in the order of the examples.

    Columns, because there are thousands of samples per candidate, and they cross processes.
    """

    prompt: Sequence[str]
    target: Sequence[str]
    response: Sequence[str]
    logprobs: Sequence[tuple[float, ...] | None]
    score: Sequence[float]
    cluster: Sequence[str]
    answer: Sequence[str]

    @classmethod
    def of(cls, rows: Iterable[tuple[Any, ...]]) -> "SampleColumns":
        """From rows with a value for each column."""
        return cls(*(list(zip(*rows, strict=True)) or [()] * len(cls._fields)))

    def rows(self) -> Iterator[Sample]:
        for example, values in enumerate(zip(*self, strict=True)):
            fields = dict(zip(self._fields, values, strict=True))
            yield Sample.model_construct(example=example, **fields)


class TaskResult(NamedTuple):
    """Per-example values of each metric of a task, and the samples behind the primary one."""

    task: str
    values: Mapping[str, Sequence[float]]
    samples: SampleColumns
    num_cut: int = 0
    """Examples whose prompt did not fit the context and lost its beginning."""
    columns: Mapping[str, Sequence[float]] | None = None
    """Further columns of numbers to store with the samples, by name. `example` holds the examples'
    numbers if not all were asked."""
