"""The examples of docs/extending.md work as the page says."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
import torch
from checkpoint_makers import make_llama
from places import ROOT
from safetensors.torch import load_file
from seats import Seats
from torch.testing import assert_close
from zoo_of_folders import FolderZoo, related

from melange.harness import evaluators
from melange.harness.checkpoints.built import ensure
from melange.harness.checkpoints.source import Checkpoints
from melange.harness.plan import make_plan
from melange.harness.records import Candidate, Suite, Task
from melange.harness.requests import Completion, Generation
from melange.harness.roles import Roles
from melange.harness.runs.writer import RunFolder
from melange.reports.pages.task.about_task import form
from melange.tasks import registry
from melange.tasks.sources import task_sources

BLOCK = re.compile(r"```(?:python|html|yaml)\n(?:# |<!-- )(\S+)(?: -->)?\n(.*?)```", re.DOTALL)
EXAMPLES = dict(BLOCK.findall((ROOT / "docs" / "extending.md").read_text()))
SUITE = """\
title: Small
reference: small_base
tasks: {pocket: [pocket_mc_trade]}
candidates: [{method: checkpoint, roles: [small_base]}]
rounds: 2
limit: 8
workloads: [{name: 8/8, prompt_tokens: 8, output_tokens: 8, num_requests: 2}]
"""
ROLES = ("large_base", "large_knowledge", "large_arithmetic")


@pytest.fixture
def method(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """METHOD of an example."""
    with imported(request.param, tmp_path) as module:
        yield module.METHOD


@contextmanager
def imported(example: str, tmp_path: Path) -> Iterator[Any]:
    """An example, imported as a module."""
    name = f"melange.{example.removesuffix('.py').replace('/', '.')}"
    file = tmp_path / "example.py"
    file.write_text(EXAMPLES[example])
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[name]


def candidate(method: Any, **options: Any) -> Candidate:
    (found,) = method.candidates(method.options(**options), Roles(related(ROLES)))
    return found


@pytest.fixture
def folders(tmp_path: Path) -> Mapping[str, Path]:
    base = make_llama(tmp_path / "large_base", seed=0)
    near = {role: make_llama(tmp_path / role, seed=seed, near=base)
            for seed, role in enumerate(ROLES[1:], start=1)}  # fmt: skip
    return {"large_base": base} | near


@pytest.mark.parametrize("method", ["baselines/merging/farthest.py"], indirect=True)
def test_a_merging_method_is_a_file(
    method: Any, folders: Mapping[str, Path], tmp_path: Path
) -> None:
    found = candidate(method, base=ROLES[0], models=ROLES[1:])
    zoo = Checkpoints(FolderZoo(folders), {"farthest": method}, tmp_path, dict(folders))
    recipe: Any = found.recipe
    made = zoo.made(found.name, recipe)
    assert made.build is not None
    state = load_file(ensure(made.path, made.build) / "model.safetensors")
    base, one, other = (load_file(folders[role] / "model.safetensors") for role in ROLES)
    for name, tensor in state.items():
        moved = [one[name] - base[name], other[name] - base[name]]
        expected = base[name] + torch.where(moved[0].abs() >= moved[1].abs(), *moved)
        assert_close(tensor, expected)


@pytest.mark.parametrize("method", ["baselines/responses/longest.py"], indirect=True)
def test_a_kind_of_candidate_is_a_file(method: Any) -> None:
    found = candidate(method, models=ROLES[1:])
    recipe: Any = found.recipe
    batch = [Generation((1,), 4), Generation((2,), 4)]
    assert [one.text for one in recipe.generate(Seats(texts=["a", "abc", "ab"]), batch)] == [
        "abc",
        "abc",
    ]
    tasks = {
        name: Task(name=name, lm_eval=name, scale="pocket", domain="quiz", output_type=kind,
                   primary_metric="acc")
        for name, kind in (("text", "generate_until"), ("choice", "multiple_choice"))
    }  # fmt: skip
    suite = Suite(name="s", tasks={"pocket": ("*",)}, candidates=())
    zoo = Checkpoints(FolderZoo(dict.fromkeys(ROLES)), {"checkpoint": object()})  # type: ignore[dict-item]
    refused = {cell.task: cell.refused for cell in make_plan(suite, [found], zoo, tasks).cells}
    assert refused == {
        "text": "",
        "choice": "choice asks for a choice, which a longest does not give",
        None: "",
    }


def copy_project(out: Path, changed: str) -> None:
    """Copies the folder that will be changed, and links the others."""
    (out / "melange").mkdir()
    for path in (ROOT / "melange").glob("*.py"):
        shutil.copy(path, out / "melange")
    shutil.copytree(ROOT / "melange" / "commands", out / "melange" / "commands")
    shutil.copytree(ROOT / changed, out / changed)
    for room in ("harness", "tasks", "baselines", "reports"):
        (out / "melange" / room).symlink_to((out if room == changed else ROOT) / room)


def run_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(folder)},
    )  # fmt: skip


class Parrot:
    """Answers with a prompt's last token."""

    max_model_len = 256

    def generate(self, batch: Sequence[Generation]) -> list[Completion]:
        return [Completion(str(one.prompt[-1]), one.prompt[-1:]) for one in batch]


def test_an_evaluator_is_a_file_and_a_line(
    tmp_path: Path, folders: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = EXAMPLES["harness/evaluators/__init__.py:EVALUATORS"]
    ((name, kind),) = eval(f"{{{line}}}", vars(evaluators)).items()
    monkeypatch.setitem(evaluators.EVALUATORS, name, kind)
    (tmp_path / "pocket").mkdir()
    (tmp_path / "pocket" / "consistency.yaml").write_text(EXAMPLES["tasks/pocket/consistency.yaml"])
    rows = [{"prompt": "w1 w2", "again": "w3 w2"}, {"prompt": "w1 w2", "again": "w2 w1"}]
    (tmp_path / "consistency.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    tasks = registry.load_tasks(tmp_path)
    task = tasks["consistency"]
    assert form(task) == "whether two phrasings of a question get one answer"
    entries = {task.name: (task, task_sources([task], tmp_path)[task.name])}
    with imported("harness/evaluators/consistency.py", tmp_path):
        opened = resolve_name(evaluators.EVALUATORS[task.evaluator].open)
        asking = opened(entries, folders["large_base"], limit=None, seed=0)
        (found,) = asking.evaluate(Parrot(), ["consistency"])
    assert found.values == {"consistency": [1.0, 0.0]}
    assert list(found.samples.score) == [1.0, 0.0]


def test_a_page_is_a_file(tmp_path: Path) -> None:
    """In a copy of the project."""
    copy_project(tmp_path, "reports")
    name = "reports/pages/sources.py"
    (tmp_path / name).write_text(EXAMPLES[name])
    run = shutil.copytree(ROOT / "tests" / "data" / "report", tmp_path / "run")
    done = run_in(tmp_path, "-m", "melange.reports", str(run))
    assert done.returncode == 0, done.stderr
    report = run / "report"
    assert '<a href="sources.html">Sources</a>' in (report / "index.html").read_text()
    page = (report / "sources.html").read_text()
    assert '<a href="candidates/base.html">base</a>' in page
    assert re.search(r'<a href="https://\S+">', page)
    heads = (report / "data" / "sources.csv").read_text().splitlines()[0]
    assert heads == "candidate,family,source"
    assert "| candidate | family | source |" in (report / "data" / "sources.md").read_text()


@pytest.mark.slow
def test_a_metric_is_a_file_and_a_line_and_an_executor_a_file(tmp_path: Path) -> None:
    """In a copy of the project, whose run counts preemptions in one worker for all jobs."""
    copy_project(tmp_path, "harness")
    for name in ("harness/measure/preemptions.py", "harness/executors/one_by_one.py"):
        (tmp_path / name).write_text(EXAMPLES[name])
    collectors = tmp_path / "harness" / "measure" / "collectors.py"
    listed = collectors.read_text().replace('"energy")', '"energy", "preemptions")')
    collectors.write_text(listed)
    shutil.copy(ROOT / "run_all.py", tmp_path)
    (tmp_path / "suite.yaml").write_text(SUITE)
    done = run_in(tmp_path, "run_all.py", "--suite", "suite.yaml", "--zoo", "pocket", "--out",
                  "out", "--executor", "one_by_one", "--no-check")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = RunFolder(tmp_path / "out").measurements()
    (counted,) = [one for one in lines if one.metric == "num_preemptions"]
    assert (counted.workload, counted.unit, counted.n) == ("8/8", "switches", 2)
    assert counted.value is not None
    assert {one.task for one in lines if one.value is not None} == {None, "pocket_mc_trade"}
    (page,) = (tmp_path / "out" / "report" / "candidates").glob("small?base*.html")
    assert "Preemptions" in page.read_text()
