"""Processes that outlive their candidates, and are killed."""

import os
import shutil
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from melange.harness.checkpoints.info import inspect
from melange.harness.engine_shapes import shape_of
from melange.harness.executors.jobs import Evaluate, Evaluated, Failed, TaskSet, Time, Timed
from melange.harness.executors.process import EngineProcess
from melange.harness.loads import Load
from melange.harness.records import EngineShape, Workload
from melange.tasks.registry import load_tasks
from melange.tasks.sources import task_sources

pytestmark = pytest.mark.slow


def test_a_worker_that_is_killed_fails_its_job_and_the_next_one_starts_anew(
    zoo_folders: Mapping[str, Path], tmp_path: Path
) -> None:
    load = Load(zoo_folders["small_base"])
    shape = EngineShape(signature="s", max_model_len=256)
    process = EngineProcess(tmp_path / "log")
    work = Workload(name="w", prompt_tokens=8, output_tokens=8, num_requests=2)
    endless = work.model_copy(update={"output_tokens": 240, "num_requests": 512})
    first = process.ask(Time(load, shape, [work], 0))
    assert isinstance(first, Timed)
    assert 0 < first.took.start_sec < first.took.sec
    threading.Timer(0.5, lambda: os.kill(process.pid or 0, signal.SIGKILL)).start()
    reply = process.ask(Time(load, shape, [endless], 0))
    assert isinstance(reply, Failed)
    assert "killed" in reply.reason
    assert reply.engine == "dead"
    assert isinstance(process.ask(Time(load, shape, [work], 0)), Timed)
    process.close()


def test_one_process_serves_shape_after_shape_and_keeps_the_requests(
    zoo_folders: Mapping[str, Path], pocket_rows: Path, tmp_path: Path
) -> None:
    task = load_tasks()["pocket_mc_trade"]
    tasks = {task.name: (task, task_sources([task], pocket_rows)[task.name])}

    def prompts_and_answers(process: EngineProcess, role: str) -> tuple[list[str], list[Any]]:
        folder = zoo_folders[role]
        shape = shape_of([inspect(folder)], folder, "cpu")
        reply = process.ask(Evaluate(Load(folder), shape, list(tasks)))
        assert isinstance(reply, Evaluated), reply
        (result,) = reply.results
        return list(result.samples.prompt), list(result.samples.logprobs)

    process = EngineProcess(tmp_path / "log", TaskSet(tasks, 20, 0))
    first = prompts_and_answers(process, "small_mix")
    pid = process.pid
    prompts, large = prompts_and_answers(process, "large_mix")
    assert (process.pid, prompts) == (pid, first[0])
    assert prompts_and_answers(process, "small_mix") == first
    assert sum(large, ()) != pytest.approx(sum(first[1], ()), abs=0.1)
    process.close()


def test_tokenizers_that_differ_in_the_chat_template_get_requests_of_their_own(
    zoo_folders: Mapping[str, Path], tmp_path: Path
) -> None:
    from melange.harness.evaluators.tokenizers import tokenizer_key

    here = zoo_folders["small_base"]
    same = shutil.copytree(here, tmp_path / "same")
    assert tokenizer_key(same) == tokenizer_key(here)
    (same / "chat_template.jinja").write_text("{{ messages[0].content }}!")
    assert tokenizer_key(same) != tokenizer_key(here)
