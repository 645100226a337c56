"""Packs a task's samples for the browser on its page (assets/samples.js).

Numbers and texts are packed, deflated and embedded as base64 in elements that are not executed. The
page holds all of them, and inflates only the blocks of examples that are shown.
Shape letters: C candidates, N examples.
"""

import base64
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from melange.reports.analysis.samples.table import FILTERED, Answers, SampleTable

BLOCK_BYTES = 2**18
"""Approximate size of a block before it is deflated; it is inflated in a few milliseconds."""
NOTHING = 2**32 - 1
"""Stands in place of a length for a missing text, which is not an empty one."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A byte string per example: UTF-8, or float32 for log-probabilities."""

    lengths_N: np.ndarray
    """In bytes, uint32; `NOTHING` for a missing string."""
    content: memoryview
    """The strings, concatenated."""

    @classmethod
    def of_texts(cls, texts_N: pa.Array) -> "Column":
        """From an array of large_binary."""
        # A null may still have bytes in the buffer; an empty text has none.
        dense_N = pc.fill_null(texts_N, b"")
        _, offsets, content = dense_N.buffers()
        at_N = np.frombuffer(offsets, np.int64)[dense_N.offset :] if len(dense_N) else [0]
        return cls(
            lengths_N=_lengths(pc.binary_length(texts_N), 1),
            content=memoryview(content or b"").cast("B")[at_N[0] : at_N[len(dense_N)]],
        )

    @classmethod
    def of_numbers(cls, numbers_N: pa.Array) -> "Column":
        """From an array of large_list<float32>."""
        values = numbers_N.flatten().to_numpy(zero_copy_only=False)
        return cls(
            lengths_N=_lengths(pc.list_value_length(numbers_N), 4),
            content=memoryview(values.astype("<f4").tobytes()),
        )

    @cached_property
    def starts_N(self) -> np.ndarray:
        """Offsets in `content`, int64, N + 1 of them."""
        lengths_N = np.where(self.lengths_N == NOTHING, 0, self.lengths_N.astype(np.int64))
        return np.concatenate([[0], np.cumsum(lengths_N)])

    def part(self, start: int, stop: int) -> tuple[bytes, memoryview]:
        """The lengths and the contents of the examples from `start` to before `stop`."""
        return (
            self.lengths_N[start:stop].tobytes(),
            self.content[self.starts_N[start] : self.starts_N[stop]],
        )


def _lengths(counts_N: pa.Array, width: int) -> np.ndarray:
    null_N = counts_N.is_null().to_numpy(zero_copy_only=False)
    known_N = pc.fill_null(counts_N, 0).to_numpy(zero_copy_only=False)
    return np.where(null_N, NOTHING, width * known_N).astype("<u4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Columns in pieces of `step` examples, each deflated and in base64."""

    step: int
    content: tuple[str, ...]


def packed(
    table: SampleTable, slugs: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Sequence[str]]]:
    """Metadata for samples.js, and the data: `scores`, `questions`, `answers`.

    Scores are float64 [C, N], NaN where missing. Questions have two columns, prompts and targets;
    answers have the `columns` of each candidate in turn.
    """
    named = {name: dict(_answer_columns(answers)) for name, answers in table.answers.items()}
    places = count()
    asked = blocks([Column.of_texts(table.prompts_N), Column.of_texts(table.targets_N)])
    answered = blocks([column for columns in named.values() for column in columns.values()])
    facts = {
        "examples": table.examples_N.tolist(),
        "candidates": [
            {"slug": slugs[name], "columns": {key: next(places) for key in columns}}
            for name, columns in named.items()
        ],
        "questionStep": asked.step,
        "answerStep": answered.step,
    }
    scores = _deflated([table.scores_CN.astype("<f8").tobytes()])
    return facts, {"scores": [scores], "questions": asked.content, "answers": answered.content}


def _answer_columns(answers: Answers) -> Iterator[tuple[str, Column]]:
    yield "response", Column.of_texts(answers.responses_N)
    if answers.logprobs_N is not None:
        yield "logprobs", Column.of_numbers(answers.logprobs_N)
    if answers.own_prompts_N is not None:
        yield "prompt", Column.of_texts(answers.own_prompts_N)
    if answers.own_targets_N is not None:
        yield "target", Column.of_texts(answers.own_targets_N)
    if answers.whole_N is not None:
        yield "whole", Column.of_texts(answers.whole_N)
    for name, texts_N in answers.filtered.items():
        yield FILTERED + name, Column.of_texts(texts_N)
    if answers.texts_N is not None:
        yield "texts", Column.of_texts(answers.texts_N)


def blocks(columns: Sequence[Column]) -> Blocks:
    """Splits columns into blocks of about `BLOCK_BYTES`, with at least one example."""
    num_examples = len(columns[0].lengths_N) if columns else 0
    weight = sum(4 * num_examples + len(c.content) for c in columns)
    step = max(1, num_examples * BLOCK_BYTES // max(weight, 1))
    cuts = [(start, min(start + step, num_examples)) for start in range(0, num_examples, step)]
    content = (_deflated([p for c in columns for p in c.part(*cut)]) for cut in cuts)
    return Blocks(step=step, content=tuple(content))


def _deflated(parts: Sequence[bytes | memoryview]) -> str:
    # Level 1 is a third larger than level 6 and takes a third of the time.
    return base64.b64encode(zlib.compress(b"".join(parts), 1)).decode("ascii")
