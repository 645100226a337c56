"""Scored examples, singly and as a task's columns."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from melange.harness.records import Record


class Sample(Record):
    """One scored example, as kept in samples/<candidate>/<task>.parquet.

    What the engine answered is kept whole, so that a stored run can be scored again; the target,
    the response and the score are what its task made of that.
    """

    example: int
    prompt: str
    target: str
    response: str
    """What the task's filter left of the generated text, or the choice with the highest
    log-probability."""
    logprobs: tuple[float, ...] | None = None
    """Log-probability of each choice, or of the one continuation (nats); None for generation."""
    score: float
    """The primary metric; NaN where the task gave none, so that its cell has failed."""
    cluster: str = ""
    """Equal for examples that are not independent of each other; empty if there are none."""
    answer: str = ""
    """Generated text before the task's filters; empty for choices."""
    texts: tuple[str, ...] | None = None
    """All generated texts, where there were several: a request's repeats, or a vote's ballots."""
    filtered: dict[str, str] | None = None
    """What each of the task's filters left of the text, by name; None if it has only one."""
    greedy: tuple[bool, ...] | None = None
    """Of each request for log-probabilities: whether greedy decoding gives this continuation."""
    unconditional: tuple[float, ...] | None = None
    """Log-probability of each choice without the prompt (nats), where a metric needs it."""
    asked: str = ""
    """Hash of what was asked beside the prompt: continuations, or settings of generation. Empty in
    runs of earlier versions, and where nothing can be scored again."""


class SampleRow(NamedTuple):
    """A sample without its number, which is its place; the fields are those of `Sample`."""

    prompt: str
    target: str
    response: str
    score: float
    logprobs: tuple[float, ...] | None = None
    cluster: str = ""
    answer: str = ""
    texts: tuple[str, ...] | None = None
    filtered: Mapping[str, str] | None = None
    greedy: tuple[bool, ...] | None = None
    unconditional: tuple[float, ...] | None = None
    asked: str = ""


class SampleColumns(NamedTuple):
    """A task's samples, a column for each field of `SampleRow`, in the order of the examples.

    Columns, because there are thousands of samples per candidate, and they cross processes.
    """

    prompt: Sequence[str]
    target: Sequence[str]
    response: Sequence[str]
    score: Sequence[float]
    logprobs: Sequence[tuple[float, ...] | None]
    cluster: Sequence[str]
    answer: Sequence[str]
    texts: Sequence[tuple[str, ...] | None]
    filtered: Sequence[Mapping[str, str] | None]
    greedy: Sequence[tuple[bool, ...] | None]
    unconditional: Sequence[tuple[float, ...] | None]
    asked: Sequence[str]

    @classmethod
    def of(cls, rows: Iterable[SampleRow]) -> "SampleColumns":
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
    """Further columns of numbers to store with the samples, by name. `example`: each sample's row
    in the data set, where they are not the first rows in order."""
    intervals: Mapping[str, tuple[float, float]] | None = None
    """95 % intervals of metrics that are no means, by metric."""
