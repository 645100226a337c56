"""Clusters go from a task's rows to its samples and its intervals."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from task_results import result_of

from melange.harness.errors import HarnessError
from melange.harness.measure.quality import quality_records
from melange.harness.recipes.weights import Weights
from melange.harness.records import Candidate, Task
from melange.harness.requests import Completion, Generation, Request, Score
from melange.harness.samples import SampleColumns, SampleRow, TaskResult
from melange.tasks.pocket.data import write_task_data
from melange.tasks.pocket.tokens import make_tokenizer
from melange.tasks.registry import load_tasks
from melange.tasks.sources import task_sources

pytestmark = pytest.mark.slow  # importing lm-eval takes seconds

SEED = 0
LIMIT = 40
TASKS = load_tasks()
SOUP = Candidate(
    name="soup", family="merging", recipe=Weights(method="soup", inputs=("large_base",))
)


class Silent:
    """A session with equal scores for everything and empty responses."""

    max_model_len = 256

    def score(self, requests: Sequence[Request]) -> list[Score]:
        return [Score(-1.0, False)] * len(requests)

    def generate(self, generations: Sequence[Generation]) -> list[Completion]:
        return [Completion("", ())] * len(generations)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    write_task_data(SEED, folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(SEED).save_pretrained(folder)
    return folder


def examine(task: Task, rows: Path, tokenizer: Path) -> Any:
    from melange.harness.evaluators.lm_eval import LmEvalEvaluator

    entries = {task.name: (task, task_sources([task], rows)[task.name])}
    evaluator = LmEvalEvaluator(entries, tokenizer, limit=LIMIT, seed=0)
    (result,) = evaluator.evaluate(Silent(), [task.name])
    return result


def result(values: Mapping[str, Sequence[float]], clusters: Sequence[str]) -> TaskResult:
    rows = (SampleRow("p", "t", "r", 1.0, cluster=one) for one in clusters)
    return TaskResult("quiz", values, SampleColumns.of(rows))


@pytest.mark.parametrize("name", ["pocket_mc_geography", "pocket_knowledge", "pocket_arithmetic"])
def test_samples_say_what_they_share(name: str, rows: Path, tokenizer: Path) -> None:
    task = TASKS[name]
    expected = [json.loads(line)[task.cluster_by] for line in (rows / f"{name}.jsonl").open()]
    found = examine(task, rows, tokenizer)
    assert found.columns
    assert len(found.columns["example"]) == LIMIT
    assert list(found.samples.cluster) == [expected[int(row)] for row in found.columns["example"]]


def test_an_interval_over_phrasings_of_few_facts_is_wider_than_over_as_many_facts() -> None:
    """Four phrasings that are right or wrong together are one observation, not four."""
    task = TASKS["pocket_mc_geography"]
    right = [float(fact % 2) for fact in range(25) for _ in range(4)]
    facts = [f"river of {fact}" for fact in range(25) for _ in range(4)]
    (shared,) = quality_records(SOUP, task, result_of({"acc": right}, facts))
    (apart,) = quality_records(SOUP, task, result_of({"acc": right}, [""] * 100))
    assert shared.value == apart.value == pytest.approx(12 / 25)
    assert shared.n == apart.n == 100
    assert shared.ci_high - shared.ci_low > 1.8 * (apart.ci_high - apart.ci_low)


def test_a_metric_of_other_examples_has_no_clusters() -> None:
    task = TASKS["pocket_mc_geography"]
    values = {"acc": [1.0, 0.0, 1.0, 0.0], "length": [3.0, 4.0]}
    records = quality_records(SOUP, task, result_of(values, ["a", "a", "b", "b"]))
    assert [(one.metric, one.unit, one.n) for one in records] == [
        ("acc", "fraction", 4), ("length", "value", 2),
    ]  # fmt: skip


def test_samples_of_a_task_without_clusters_share_nothing(rows: Path, tokenizer: Path) -> None:
    samples = examine(TASKS["pocket_instructions"], rows, tokenizer).samples
    assert set(samples.cluster) == {""}


def test_a_column_that_is_not_there_is_named(rows: Path, tokenizer: Path) -> None:
    task = TASKS["pocket_knowledge"].model_copy(update={"cluster_by": "facts"})
    with pytest.raises(HarnessError, match=r"cluster_by='facts', .* they have question, .*, fact"):
        examine(task, rows, tokenizer)
