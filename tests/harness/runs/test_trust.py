"""A recorded value that the samples contradict is not shown as one; the reason is."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from melange.harness.measure.quality import quality_records
from melange.harness.recipes.weights import Weights
from melange.harness.records import SCHEMA_VERSION, Candidate, Outcome, Task
from melange.harness.runs.writer import RunFolder
from melange.harness.samples import SampleColumns, SampleRow, TaskResult
from melange.reports.analysis.run import Reading, load_run

QUIZ = Task(name="quiz", lm_eval="quiz", scale="public", domain="prose",
            output_type="generate_until", primary_metric="exact_match")  # fmt: skip
ONE = Candidate(name="a", family="single", recipe=Weights(method="checkpoint", inputs=("a",)))
SCORES = [1.0, 0.0, 0.0, 1.0] * 25


def read(folder: Path, recorded: Sequence[float], kept: Sequence[float]) -> Reading:
    """The cell's reading, if these scores were recorded and those are in its samples."""
    run = RunFolder(folder)
    run.prepare()
    run.write_manifest({
        "schema_version": SCHEMA_VERSION,
        "candidates": [ONE.model_dump(mode="json")], "tasks": [QUIZ.model_dump(mode="json")],
    })  # fmt: skip
    samples, before = (
        SampleColumns.of(SampleRow("p", "t", "r", score) for score in scores)
        for scores in (kept, recorded)
    )
    run.write_samples("a", "quiz", samples)
    result = TaskResult("quiz", {"exact_match": recorded}, before)
    run.append(quality_records(ONE, QUIZ, result))
    return load_run(folder).quality("a", "quiz")


def test_a_value_that_the_samples_bear_out_is_shown(tmp_path: Path) -> None:
    assert read(tmp_path, SCORES, SCORES).value == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("kept", "said"),
    [([1.0] * 8 + SCORES[8:], "recorded as 0.5, but its samples have a mean of 0.54"),
     (SCORES[:-2], "recorded over 100 examples, but it has 98 samples"),
     ([*SCORES[:7], math.nan, *SCORES[8:]], "among its samples, example 7 has no finite score")],
)  # fmt: skip
def test_a_value_that_they_contradict_is_a_failure_with_the_reason(
    kept: list[float], said: str, tmp_path: Path
) -> None:
    found = read(tmp_path, SCORES, kept)
    assert (found.value, found.outcome) == (None, Outcome.FAILED)
    assert found.reason == f"not trusted: {said}"


def test_a_cell_without_samples_stays_as_it_is(tmp_path: Path) -> None:
    read(tmp_path, SCORES, SCORES)
    (tmp_path / "samples" / "a" / "quiz.parquet").unlink()
    assert load_run(tmp_path).quality("a", "quiz").value == pytest.approx(0.5)
