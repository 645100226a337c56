"""Jobs run where an executor sends them; a failure there affects only the candidate's cells."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event

import pytest
from queued import prepared
from zoo_of_folders import FolderZoo, plan_of

from melange.harness.errors import HarnessError
from melange.harness.evaluation import Ask, Evaluation, pending_tasks
from melange.harness.executors import executor_named
from melange.harness.executors.jobs import (
    NO_TASKS,
    Evaluate,
    Evaluated,
    Failed,
    Job,
    Reply,
    Time,
    Timed,
    Took,
)
from melange.harness.executors.local import LocalExecutor, connect
from melange.harness.loads import Load
from melange.harness.lost_causes import LostCauses
from melange.harness.prepare import Prepared
from melange.harness.progress import Progress
from melange.harness.recorder import Recorder
from melange.harness.records import EngineShape, Suite, Task, Workload
from melange.harness.runs.writer import RunFolder

TASKS = {
    name: Task(name=name, lm_eval=name, scale="pocket", domain="quiz",
               output_type="multiple_choice", primary_metric="acc")
    for name in ("one", "two", "three")
}  # fmt: skip
NAMES = ("a", "b", "c", "d")
WELL = Evaluated([], 0.0, Took(2.0, 0.5))
UNSTARTED = Failed("no memory", engine="broken", stage="start")
BROKEN = Failed("IndexError: 23", engine="broken")


class Scripted:
    """One worker in a thread, with scripted answers."""

    num_slots = 1

    def __init__(self, answer: Callable[[Evaluate], Reply]) -> None:
        self._answer = answer
        self._thread = ThreadPoolExecutor(1)
        self._all_are_there = Event()
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def submit(self, jobs: Sequence[Job]) -> list[Future[Reply]]:
        found = [self._thread.submit(self._do, job) for job in jobs]
        self._all_are_there.set()
        return found

    def _do(self, job: Job) -> Reply:
        self._all_are_there.wait()
        time.sleep(0.05)  # as a job does, so that this thread notifies whoever waits for it
        assert isinstance(job, Evaluate)
        self.asked.append((job.load.checkpoint.name, tuple(job.tasks)))
        return self._answer(job)

    def together(self, members: Sequence[Prepared]) -> list[list[Prepared]]:
        raise NotImplementedError

    def alone(self, job: Job) -> Reply:
        raise NotImplementedError

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)


@pytest.fixture
def evaluated(tmp_path: Path) -> Iterator[Callable[..., Evaluation]]:
    executors: list[Scripted] = []

    def evaluate(answer: Callable[[Evaluate], Reply], *names: str) -> Evaluation:
        suite = Suite(name="s", tasks={"pocket": ("*",)},
                      candidates=({"method": "checkpoint", "roles": list(names)},))  # fmt: skip
        plan = plan_of(suite, FolderZoo(dict.fromkeys(names)), TASKS)
        folder, progress = RunFolder(tmp_path / "run"), Progress(plan)
        folder.prepare()
        executors.append(Scripted(answer))
        recorder = Recorder(plan, folder, progress)
        ask = Ask(partial(pending_tasks, plan), recorder.keep)
        evaluation = Evaluation(
            executors[-1], ask, recorder, progress, LostCauses(), lambda others_wait: None
        )
        evaluation.run([prepared(name, "single", "shape") for name in names])
        return evaluation

    yield evaluate
    for one in executors:
        one.close()


def reasons(evaluation: Evaluation) -> Mapping[tuple[str, str | None], str]:
    lines = evaluation.recorder.folder.measurements()
    return {(one.candidate, one.task): one.reason for one in lines}


def test_all_tasks_go_together_and_engines_that_started_are_counted(evaluated) -> None:
    evaluation = evaluated(lambda job: WELL, *NAMES)
    assert evaluation.executor.asked == [(name, tuple(TASKS)) for name in NAMES]
    assert evaluation.start_sec == 4 * 0.5
    assert reasons(evaluation) == {}


def test_what_fails_together_is_asked_apart_and_costs_the_culprit_alone(evaluated) -> None:
    evaluation = evaluated(lambda job: BROKEN if "two" in job.tasks else WELL, "a")
    assert evaluation.executor.asked == [
        ("a", tuple(TASKS)), ("a", ("one",)), ("a", ("two",)), ("a", ("three",)),
    ]  # fmt: skip
    assert reasons(evaluation) == {("a", "two"): BROKEN.reason}


def test_candidates_whose_engine_starts_for_nobody_are_not_asked(evaluated) -> None:
    """Their jobs have already been submitted."""
    evaluation = evaluated(lambda job: UNSTARTED, *NAMES)
    assert [name for name, _ in evaluation.executor.asked] == ["a", "b"]
    found = reasons(evaluation)
    assert len(found) == len(NAMES) * len(TASKS)
    why = "not tried, since its engine serves none of a, b: no memory"
    assert {found["c", task] for task in TASKS} == {found["d", task] for task in TASKS} == {why}


def test_an_error_of_the_executor_ends_the_run(evaluated) -> None:
    def lose(job: Evaluate) -> Reply:
        raise OSError("no route to the cluster")

    with pytest.raises(OSError, match="no route"):
        evaluated(lose, *NAMES)


def test_results_that_cannot_be_written_end_the_run(
    evaluated, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Recorder, *arguments: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Recorder, "keep", full)
    with pytest.raises(OSError, match="No space left"):
        evaluated(lambda job: WELL, *NAMES)


# This machine


def on(device: str, *shapes: str, kv_cache_bytes: int = 0) -> list[Prepared]:
    members = [prepared(f"{shape}-{at}", "single", shape) for shape in shapes for at in (0, 1)]
    changes = {"device": device, "kv_cache_bytes": kv_cache_bytes}
    return [one._replace(shape=one.shape.model_copy(update=changes), infos=()) for one in members]


@pytest.mark.parametrize(
    ("members", "num_parts"),
    [
        (on("cpu", "a", "b"), 1),
        (on("cuda", "a", "b"), 2),
        (on("cpu", "a", "b", kv_cache_bytes=2**60), 2),
    ],
    ids=["a CPU with memory for all", "a GPU, which one engine claims", "more than the memory"],
)  # fmt: skip
def test_what_is_timed_in_turn_are_engines_that_are_alive_together(
    tmp_path: Path, members: list[Prepared], num_parts: int
) -> None:
    executor = LocalExecutor(tmp_path / "log", members[0].shape.device, members, NO_TASKS)
    parts = executor.together(members)
    executor.close()
    assert len(parts) == num_parts
    assert [one for part in parts for one in part] == members


@pytest.mark.slow
def test_closing_ends_what_runs_and_cancels_what_waits(
    zoo_folders: Mapping[str, Path], tmp_path: Path
) -> None:
    folder = zoo_folders["small_base"]
    shape = EngineShape(signature="s", max_model_len=256)
    work = Workload(name="w", prompt_tokens=8, output_tokens=240, num_requests=512)
    member = prepared("a", "single", "s")._replace(shape=shape, infos=())
    executor = connect(tmp_path / "log", "cpu")([member], NO_TASKS)
    short = work.model_copy(update={"output_tokens": 1, "num_requests": 1})
    assert isinstance(executor.alone(Time(Load(folder), shape, [short], 0)), Timed)
    running, waiting = executor.submit([Time(Load(folder), shape, [work] * 50, 0)] * 2)
    while not running.running():
        time.sleep(0.1)
    start = time.perf_counter()
    executor.close()
    assert time.perf_counter() - start < 20
    reply = running.result()
    assert isinstance(reply, Failed)
    assert "the engine process died" in reply.reason
    assert waiting.cancelled()


@pytest.mark.parametrize("name", ["nowhere", "jobs", "../local", ""])
def test_an_executor_that_is_not_there_is_one_line(name: str) -> None:
    with pytest.raises(HarnessError, match="harness/executors has none of this name; try local"):
        executor_named(name)


def test_a_module_with_connect_is_an_executor() -> None:
    assert executor_named("local") is connect
