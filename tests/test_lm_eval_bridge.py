"""Scores are lm-eval's own: those of its `hf` backend on the same checkpoint, row by row."""

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from baselines.checkpoints import inspect
from harness.records import EngineShape, Task
from tasks.registry import load_tasks
from tasks.sources import task_sources

pytestmark = pytest.mark.slow

TASKS = {name: task for name, task in load_tasks().items() if task.scale == "pocket"}
LIMIT = 100
ROLE = "small_mix"


@pytest.fixture(scope="module")
def ours(zoo_folders: Mapping[str, Path], pocket_rows: Path) -> dict[str, list[float]]:
    """Score of every example by task, from the engine."""
    from harness.engines.session import Session
    from harness.lm_eval_bridge import Examination

    folder = zoo_folders[ROLE]
    shape = EngineShape(signature="bridge", max_model_len=inspect(folder).context_length)
    session = Session(folder, shape)
    sources = task_sources(TASKS.values(), pocket_rows)
    entries = {name: (task, sources[name]) for name, task in TASKS.items()}
    examination = Examination(entries, folder, limit=LIMIT, seed=0)
    results = examination.evaluate(session, list(TASKS))
    found = {one.task: [sample.score for sample in one.samples] for one in results}
    session.close()
    return found


@pytest.fixture(scope="module")
def theirs(zoo_folders: Mapping[str, Path], pocket_rows: Path, tmp_path_factory: Any) -> Any:
    """The same from `lm_eval.simple_evaluate(model="hf")`."""
    import lm_eval
    import yaml
    from lm_eval.tasks import TaskManager

    paths = []
    for name, sources in task_sources(TASKS.values(), pocket_rows).items():
        path = tmp_path_factory.mktemp("yaml") / f"{name}.yaml"
        path.write_text(yaml.safe_dump(sources[0]))
        paths.append(str(path))
    with contextlib.redirect_stderr(io.StringIO()):
        results = lm_eval.simple_evaluate(
            model="hf",
            model_args={"pretrained": str(zoo_folders[ROLE]), "dtype": "float32"},
            tasks=paths,
            limit=LIMIT,
            device="cpu",
            batch_size=32,
            bootstrap_iters=0,
            task_manager=TaskManager(include_defaults=False),
        )
    return results["samples"]


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_each_example_scores_as_with_the_hf_backend(task: Task, ours: Any, theirs: Any) -> None:
    expected = {
        row["doc_id"]: float(row[task.primary_metric])
        for row in theirs[task.name]
        if row["filter"] == task.filter
    }
    assert dict(enumerate(ours[task.name])) == expected
    assert len(expected) == LIMIT
