"""A run's answers, from its samples."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from melange.harness.runs.layout import samples_path
from melange.harness.runs.samples import read_samples


class Kept(NamedTuple):
    """An example's answer."""

    prompt: str
    logprobs: tuple[float, ...] | None
    """Of each choice (nats)."""
    answer: str
    """Generated text."""


def prompt_lengths(folder: Path, candidate: str, task: str) -> dict[int, int]:
    """Characters of each example's prompt, by its row in the data set; empty if there are no
    samples, or they lack whole answers."""
    path = samples_path(folder, candidate, task)
    if not path.is_file():
        return {}
    table = read_samples(path, ("example", "prompt", "answer"))
    if "answer" not in table.column_names:
        return {}
    lengths = pc.utf8_length(table["prompt"]).to_pylist()
    return dict(zip(table["example"].to_pylist(), lengths, strict=True))


def kept_answers(folder: Path, candidate: str, task: str, examples: Sequence[int]) -> list[Kept]:
    """The answers to these examples, by their rows in the data set."""
    table = read_samples(samples_path(folder, candidate, task), ("example", *Kept._fields))
    places = {number: at for at, number in enumerate(table["example"].to_pylist())}
    rows = table.take(pa.array([places[one] for one in examples], pa.int64())).to_pylist()
    return [
        Kept(row["prompt"], None if row["logprobs"] is None else tuple(row["logprobs"]),
             row["answer"])
        for row in rows
    ]  # fmt: skip
