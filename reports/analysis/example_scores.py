"""The score of each example of a cell, as stored by the run."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from melange.harness.runs.samples import read_samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """All scored examples of a cell, sorted by number. Shape letter: N examples."""

    examples_N: np.ndarray
    """Each example's number, int64."""
    values_N: np.ndarray
    """The primary metric, float64."""
    clusters_N: np.ndarray
    """Strings; examples that share one are not independent. All differ if none are stored."""


def read_scores(path: Path) -> Scores:
    """
    Raises:
        HarnessError: the file cannot be read, or lacks a column.
    """
    table = read_samples(path, ("example", "score", "cluster"))
    examples_N = table["example"].to_numpy().astype(np.int64)
    known = "cluster" in table.column_names
    shared = table["cluster"].to_pylist() if known else [""] * len(table)
    # The prefix keeps an example's number from being equal to a cluster's name.
    names = [name or f"\0{i}" for name, i in zip(shared, examples_N.tolist(), strict=True)]
    return Scores(
        examples_N=examples_N,
        values_N=table["score"].to_numpy().astype(np.float64),
        clusters_N=np.array(names, dtype=object),
    )
