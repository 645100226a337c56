"""Means over tasks that ask about the same facts have wider intervals in trends too."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from evidence_run import CANDIDATES, draw, entry, write

from melange.harness.runs.history import Night, Point
from melange.reports.analysis.trends.sharing import widening
from melange.reports.analysis.trends.trends import _arithmetic_mean, _geometric_mean


def night(folder: Path) -> Night:
    return cast(Night, SimpleNamespace(folder=folder))


def asked_twice(folder: Path, cluster_by: str) -> Path:
    """Two tasks with the same facts and the same answers."""
    scores = draw(dict.fromkeys(CANDIDATES, 0.5))
    tasks: list[dict[str, Any]] = [entry(name) | {"cluster_by": cluster_by} for name in "ab"]
    return write(folder, {"a": scores, "b": scores}, tasks=tasks, clusters=2)


def test_a_fact_that_two_tasks_ask_about_counts_once(tmp_path: Path) -> None:
    """Independent tasks would make the error of a mean over two smaller by the root of two."""
    wider = widening([night(asked_twice(tmp_path, "fact"))], "held_out")
    assert list(wider.values()) == pytest.approx([np.sqrt(2)] * len(CANDIDATES))


def test_the_newest_night_with_samples_tells(tmp_path: Path) -> None:
    older, newer = asked_twice(tmp_path / "old", "fact"), tmp_path / "new"
    newer.mkdir()
    assert widening([night(older), night(newer)], "held_out")
    assert widening([night(newer)], "held_out") == {}


def test_a_mean_of_parts_without_intervals_has_none() -> None:
    known = Point(0.5, 0.4, 0.6, 100, "fraction", True)
    bare = known._replace(low=None, high=None)
    for mean in (_arithmetic_mean, _geometric_mean):
        assert mean([known, known]).low is not None
        assert (mean([known, bare]).low, mean([bare, bare]).high) == (None, None)
    assert _arithmetic_mean([known, known], 2.0).high == pytest.approx(0.5 + 0.2 / np.sqrt(2))
