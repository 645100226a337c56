"""The score of each example of a cell, as the run kept it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from melange.harness.errors import HarnessError


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """All scored examples of a cell, by example number ascending. Shape letter: N examples."""

    examples_N: np.ndarray
    """Each example's number, int64."""
    values_N: np.ndarray
    """The primary metric, float64."""
    clusters_N: np.ndarray
    """Strings; examples that share one are not independent. Each its own where none is kept."""


def read_scores(path: Path) -> Scores:
    """
    Raises:
        HarnessError: the file cannot be read, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            known = file.schema_arrow.names
            columns = [name for name in ("example", "score", "cluster") if name in known]
            table = file.read(columns=columns, use_threads=False)
        examples_N = table["example"].to_numpy().astype(np.int64)
        values_N = table["score"].to_numpy().astype(np.float64)
        shared = table["cluster"].to_pylist() if "cluster" in columns else [""] * len(table)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise HarnessError(f"{path} cannot be read: {reason}") from error
    # A name cannot clash with an example's number: the number has a prefix no name has.
    names = [name or f"\0{i}" for name, i in zip(shared, examples_N.tolist(), strict=True)]
    order_N = np.argsort(examples_N, kind="stable")
    return Scores(
        examples_N=examples_N[order_N],
        values_N=values_N[order_N],
        clusters_N=np.array(names, dtype=object)[order_N],
    )
