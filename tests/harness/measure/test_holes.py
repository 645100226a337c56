"""A cell whose scores give no value has failed, with the reason; it is not measured in silence."""

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from small_plans import small_plan

from melange.harness.executors.jobs import Evaluated
from melange.harness.progress import Progress
from melange.harness.recorder import Recorder
from melange.harness.records import SCHEMA_VERSION, Measurement, Outcome
from melange.harness.runs.reader import read_run
from melange.harness.runs.writer import RunFolder
from melange.harness.samples import SampleColumns, SampleRow, TaskResult

Scores = Sequence[float]
TASK = "quiz_easy"
"""Its metric is acc, without filters."""


def kept(
    folder: Path, values: Mapping[str, Scores], scores: Scores
) -> tuple[list[Measurement], Recorder]:
    """The records that a result leaves."""
    plan, run = small_plan(), RunFolder(folder)
    run.prepare()
    run.write_manifest({"schema_version": SCHEMA_VERSION})
    with closing(Progress(plan)) as progress:
        recorder = Recorder(plan, run, progress)
        rows = (SampleRow("p", "t", "r", one, answer="r") for one in scores)
        result = TaskResult(TASK, values, SampleColumns.of(rows))
        recorder.keep(plan.candidate("small_base"), Evaluated([result], 1.0))
    return run.measurements(), recorder


@pytest.mark.parametrize(
    ("values", "scores", "said"),
    [({"acc": [1.0, math.nan]}, [1.0, math.nan], "example 1: acc is missing or no finite number"),
     ({"acc": [1.0, math.inf]}, [1.0, math.inf], "example 1: acc is missing or no finite number"),
     ({"acc": [1.0]}, [1.0, math.nan], "example 1: acc is missing or no finite number"),
     ({"f1": [1.0, 0.0], "em": [1.0, 0.0]}, [math.nan] * 2, "has no metric 'acc'; it has em, f1"),
     ({"acc,strict": [1.0, 0.0]}, [math.nan] * 2, "it has no filter 'none'; it has strict"),
     ({}, [math.nan] * 2, "its metrics gave no number, 'acc' among them")],
)  # fmt: skip
def test_a_hole_is_a_failure_with_its_reason_and_the_answers_stay(
    values: Mapping[str, Scores], scores: Scores, said: str, tmp_path: Path
) -> None:
    (record,), recorder = kept(tmp_path, values, scores)
    assert (record.outcome, record.value, recorder.num_failed) == (Outcome.FAILED, None, 1)
    assert said in record.reason
    assert record.n == 2
    stored = read_run(tmp_path)
    assert stored.samples_path("small_base", TASK) is None
    assert stored.answers_path("small_base", TASK) is not None


def test_another_metric_that_is_not_finite_is_left_out_and_said(tmp_path: Path) -> None:
    values = {"acc": [1.0, 0.0], "ratio": [0.5, math.nan]}
    (record,), recorder = kept(tmp_path, values, values["acc"])
    assert (record.metric, record.value, recorder.num_failed) == ("acc", 0.5, 0)
    assert record.reason == "left out, for a score that is no finite number: ratio (example 1)"
