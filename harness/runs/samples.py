"""Writes and reads the scored examples of a cell, a parquet file."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from melange.harness.errors import HarnessError
from melange.harness.runs.layout import samples_path
from melange.harness.samples import Sample, SampleColumns

if TYPE_CHECKING:  # the import takes a tenth of a second, and plans do not need it
    import pyarrow as pa

OPTIONAL = (
    "logprobs", "cluster", "answer", "texts", "filtered", "greedy", "unconditional", "asked",
)  # fmt: skip
"""Columns that earlier versions did not write."""


def encode_samples(
    samples: SampleColumns, columns: Mapping[str, Sequence[float]] = MappingProxyType({})
) -> bytes:
    """The file's bytes: the samples' columns and these. Samples are numbered from 0 unless
    `columns` has their numbers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"example": range(len(samples.score))} | samples._asdict() | dict(columns))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def read_samples(path: Path, columns: Sequence[str]) -> "pa.Table":
    """These columns, sorted by example; without optional columns that the file lacks.

    Raises:
        HarnessError: the file cannot be read, or lacks a column that every run writes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            known = set(file.schema_arrow.names)
            wanted = [name for name in columns if name in known or name not in OPTIONAL]
            if missing := [name for name in wanted if name not in known]:
                raise HarnessError(
                    f'{_named(path)} cannot be read: it has no column "{missing[0]}"; measure the '
                    "cell again"
                )
            table = file.read(columns=wanted, use_threads=False)
        in_order = bool((np.diff(table["example"].to_numpy()) >= 0).all())
        return table if in_order else table.sort_by("example")
    except (pa.ArrowException, OSError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise HarnessError(f"{_named(path)} cannot be read: {reason}") from error


def read_rows(path: Path) -> list[Sample]:
    """All samples of a cell, sorted by example.

    Raises:
        HarnessError: as `read_samples`.
    """
    rows = read_samples(path, tuple(Sample.model_fields)).to_pylist()
    return [Sample.model_construct(**row) for row in rows]


def samples_hash(folder: Path, candidate: str, task: str) -> str:
    """Hash of a cell's samples; empty if there are none."""
    path = samples_path(folder, candidate, task)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""


def _named(path: Path) -> str:
    """As `samples/ties/pocket_knowledge.parquet`."""
    return "/".join(path.parts[-3:])
