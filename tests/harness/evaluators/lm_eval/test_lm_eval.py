"""Scores equal those of lm-eval's `hf` backend on the same checkpoint, row by row."""

import contextlib
import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from melange.harness.checkpoints.info import inspect
from melange.harness.errors import HarnessError
from melange.harness.records import EngineShape, Task
from melange.harness.row_draws import drawn_rows
from melange.harness.samples import Sample, TaskResult
from melange.tasks.registry import load_tasks
from melange.tasks.sources import task_sources

pytestmark = pytest.mark.slow

TASKS = {name: task for name, task in load_tasks().items() if name.startswith("pocket_")}
LIMIT = 100
ROLE = "small_mix"


def examine(
    folder: Path, tasks: Mapping[str, Task], rows: Path, limit: int
) -> dict[str, Sequence[Sample]]:
    """Samples by task, from the engine."""
    from melange.harness.engines.session import EngineSession
    from melange.harness.evaluators.lm_eval import LmEvalEvaluator

    shape = EngineShape(signature="bridge", max_model_len=inspect(folder).context_length)
    session = EngineSession(folder, shape)
    sources = task_sources(tasks.values(), rows)
    entries = {name: (task, sources[name]) for name, task in tasks.items()}
    results = LmEvalEvaluator(entries, folder, limit=limit, seed=0).evaluate(session, list(tasks))
    found = {one.task: numbered(one) for one in results}
    session.close()
    return found


def numbered(result: TaskResult) -> Sequence[Sample]:
    """Samples under their rows' numbers."""
    assert result.columns
    pairs = zip(result.samples.rows(), result.columns["example"], strict=True)
    return [one.model_copy(update={"example": row}) for one, row in pairs]


def examine_with_hf(
    folder: Path, tasks: Mapping[str, Task], rows: Path, scratch: Path, **options: Any
) -> Any:
    """The same from `lm_eval.simple_evaluate(model="hf")`."""
    import lm_eval
    import yaml
    from lm_eval.tasks import TaskManager

    paths = []
    for name, sources in task_sources(tasks.values(), rows).items():
        paths.append(str(scratch / f"{name}.yaml"))
        # In the YAML, because lm-eval's argument does not override a task with 0 shots.
        shots = {"num_fewshot": tasks[name].num_fewshot}
        Path(paths[-1]).write_text(yaml.safe_dump(sources[0] | shots))
    with contextlib.redirect_stderr(io.StringIO()):
        results = lm_eval.simple_evaluate(
            model="hf",
            model_args={"pretrained": str(folder), "dtype": "float32"},
            tasks=paths,
            device="cpu",
            batch_size=32,
            bootstrap_iters=0,
            task_manager=TaskManager(include_defaults=False),
            **options,
        )
    return results["samples"]


@pytest.fixture(scope="module")
def ours(zoo_folders: Mapping[str, Path], pocket_rows: Path) -> dict[str, Sequence[Sample]]:
    return examine(zoo_folders[ROLE], TASKS, pocket_rows, LIMIT)


@pytest.fixture(scope="module")
def theirs(
    zoo_folders: Mapping[str, Path], pocket_rows: Path, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    scratch = tmp_path_factory.mktemp("yaml")
    drawn = {name: drawn_rows(count_rows(pocket_rows, name), LIMIT, seed=0, name=name)
             for name in TASKS}  # fmt: skip
    return examine_with_hf(zoo_folders[ROLE], TASKS, pocket_rows, scratch, samples=drawn)


def count_rows(rows: Path, task: str) -> int:
    return len((rows / f"{task}.jsonl").read_text().splitlines())


def assert_same(task: Task, ours: Sequence[Sample], theirs: Any, limit: int) -> None:
    rows = [row for row in theirs if row["filter"] == task.filter]
    metric = task.primary_metric
    expected = {row["doc_id"]: (row["arguments"][0][0], float(row[metric])) for row in rows}
    assert {one.example: (one.prompt, one.score) for one in ours} == expected
    assert len(expected) == limit


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_each_example_scores_as_with_the_hf_backend(task: Task, ours: Any, theirs: Any) -> None:
    assert_same(task, ours[task.name], theirs[task.name], LIMIT)


def test_shots_and_chat_template_are_rendered_as_with_the_hf_backend(
    zoo_folders: Mapping[str, Path], pocket_rows: Path, tmp_path: Path
) -> None:
    names = ("pocket_knowledge", "pocket_mc_trade")
    tasks = {n: TASKS[n].model_copy(update={"num_fewshot": 2, "chat": True}) for n in names}
    folder, rows = zoo_folders[ROLE], shutil.copytree(pocket_rows, tmp_path / "rows")
    for name in names:  # shots are drawn row by row, so both have to see the same data set
        lines = (rows / f"{name}.jsonl").read_text().splitlines(keepends=True)
        (rows / f"{name}.jsonl").write_text("".join(lines[:20]))
    theirs = examine_with_hf(
        folder, tasks, rows, tmp_path, apply_chat_template=True, fewshot_as_multiturn=True
    )
    ours = examine(folder, tasks, rows, 20)
    for name, task in tasks.items():
        assert_same(task, ours[name], theirs[name], 20)


def test_what_a_task_asks_of_generation_reaches_the_engine_or_is_refused() -> None:
    from melange.harness.evaluators.lm_eval.session_lm import _sampling

    asked = {"until": ["\n"], "do_sample": True, "temperature": 0.7, "top_p": 0.9, "min_p": 0.05,
             "repetition_penalty": 1.2, "min_new_tokens": 4, "num_beams": 1}  # fmt: skip
    assert _sampling(asked) == {
        "temperature": 0.7, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.2,
        "min_tokens": 4,
    }  # fmt: skip
    assert _sampling({"top_p": 0, "temperature": None}) == {}
    with pytest.raises(HarnessError, match="num_beams=4 is not supported"):
        _sampling({"num_beams": 4})
