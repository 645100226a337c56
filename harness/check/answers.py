"""What a run answered, as its samples keep it."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


class Kept(NamedTuple):
    """An example's answer."""

    prompt: str
    logprobs: tuple[float, ...] | None
    """Of each choice (nats)."""
    answer: str
    """Generated text."""


def prompt_lengths(folder: Path, candidate: str, task: str) -> list[int]:
    """Characters of each example's prompt; none where there are no samples of the kind that keeps
    answers whole."""
    path = _path(folder, candidate, task)
    if not path.is_file():
        return []
    with pq.ParquetFile(path) as file:
        if "answer" not in file.schema_arrow.names:
            return []
        prompts = file.read(columns=["prompt"], use_threads=False)["prompt"]
    lengths: list[int] = pc.utf8_length(prompts).to_pylist()
    return lengths


def kept_answers(folder: Path, candidate: str, task: str, examples: Sequence[int]) -> list[Kept]:
    """Of these examples, by their place."""
    with pq.ParquetFile(_path(folder, candidate, task)) as file:
        table = file.read(columns=list(Kept._fields), use_threads=False)
    rows = table.take(pa.array(examples, pa.int64())).to_pylist()
    return [
        Kept(row["prompt"], None if row["logprobs"] is None else tuple(row["logprobs"]),
             row["answer"])
        for row in rows
    ]  # fmt: skip


def _path(folder: Path, candidate: str, task: str) -> Path:
    return folder / "samples" / candidate / f"{task}.parquet"
