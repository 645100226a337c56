"""Whether the samples that a run keeps bear out the values that it records."""

from dataclasses import replace
from typing import TypeVar

import numpy as np

from melange.harness.errors import HarnessError
from melange.harness.records import Measurement, Outcome
from melange.harness.runs.reader import StoredRun
from melange.harness.runs.samples import read_samples

TOLERANCE = 1e-6
"""Of a mean, relative to the largest score: sums in another order differ by less."""
Stored = TypeVar("Stored", bound=StoredRun)


def borne_out(stored: Stored) -> Stored:
    """The run, with a failure in the place of each value that its samples contradict.

    A cell without samples, or whose samples cannot be read, stays as it is.
    """
    primary = {one.name: one.primary_metric for one in stored.manifest.tasks}
    lines = tuple(
        _checked(stored, line, line.task)
        if line.task and primary.get(line.task) == line.metric and line.value is not None
        else line
        for line in stored.measurements
    )
    return replace(stored, measurements=lines)


def _checked(stored: StoredRun, line: Measurement, task: str) -> Measurement:
    path = stored.samples_path(line.candidate, task)
    if path is None:
        return line
    try:
        table = read_samples(path, ("example", "score"))
    except HarnessError:  # whoever needs the samples says so
        return line
    scores_N = table["score"].to_numpy().astype(np.float64)
    reason = contradiction(line, table["example"].to_numpy(), scores_N)
    if not reason:
        return line
    empty = dict.fromkeys(("value", "n", "ci_low", "ci_high"))
    return line.model_copy(update=empty | {"outcome": Outcome.FAILED, "reason": reason})


def contradiction(line: Measurement, examples_N: np.ndarray, scores_N: np.ndarray) -> str:
    """What the samples say against the recorded value; empty if they bear it out.

    Shape letter: N examples. NaN stands for a missing score.
    """
    if not len(scores_N):  # a gap, which whoever shows samples says
        return ""
    bad_N = ~np.isfinite(scores_N)
    if bad_N.any():
        first = examples_N[bad_N.argmax()]
        return f"not trusted: among its samples, example {first} has no finite score"
    if line.n is not None and line.n != len(scores_N):
        return f"not trusted: recorded over {line.n} examples, but it has {len(scores_N)} samples"
    mean, allowed = scores_N.mean(), TOLERANCE * max(1.0, np.abs(scores_N).max())
    if line.value is None or abs(line.value - mean) <= allowed:
        return ""
    return f"not trusted: recorded as {line.value:.6g}, but its samples have a mean of {mean:.6g}"
