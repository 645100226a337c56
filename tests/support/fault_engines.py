"""Answers of an engine with a planted fault, and the check's result for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from planted_faults import PLANTS, Plant, Served

from melange.baselines.catalog import expand, methods
from melange.baselines.zoo.catalog import open_zoo
from melange.harness.cache import cache_dir
from melange.harness.check.examiner import Examiner
from melange.harness.check.subject import Setting, Subject
from melange.harness.checkpoints.info import CheckpointInfo
from melange.harness.checkpoints.source import Checkpoints
from melange.harness.engine_shapes import shape_of
from melange.harness.executors.jobs import Evaluate, Evaluated, Start, TaskSet
from melange.harness.loads import Load
from melange.harness.prepare import prepare
from melange.harness.records import Candidate, EngineOptions, EngineShape, Task
from melange.harness.roles import Roles
from melange.harness.runs.writer import RunFolder
from melange.harness.verdicts import Check
from melange.tasks.registry import load_tasks
from melange.tasks.sources import pocket_data, task_sources

Tasks = Mapping[str, tuple[Task, Sequence[Any]]]


class Place(NamedTuple):
    """A zoo, its tasks and a suite's candidates, to plant faults in."""

    checkpoints: Checkpoints
    candidates: Mapping[str, Candidate]
    tasks: Tasks
    limit: int


def pocket_place(entries: Sequence[Mapping[str, Any]], names: Sequence[str], limit: int) -> Place:
    """Candidates of a suite's entries on the pocket zoo, and its tasks by name."""
    zoo = open_zoo("pocket")
    candidates, _ = expand([dict(one) for one in entries], Roles(zoo.related()), where="test")
    roles = {role for one in candidates for role in one.recipe.inputs}
    checkpoints = Checkpoints(zoo, methods())
    checkpoints.make_ready(sorted(roles))
    assert zoo.world_seed is not None
    tasks = [load_tasks()[name] for name in names]
    sources = task_sources(tasks, pocket_data(zoo.world_seed, cache_dir()))
    return Place(
        checkpoints,
        {one.name: one for one in candidates},
        {one.name: (one, sources[one.name]) for one in tasks},
        limit,
    )


class Engines:
    """A process with an engine that answers with or without a fault."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._process = ProcessPoolExecutor(1, mp_context=get_context("spawn"))

    def answer(self, plant: Plant, number: int, folder: Path) -> None:
        """Writes the candidate's samples as a run would. `number`: the plant's index in PLANTS."""
        self._process.submit(_answer, self._place, number, plant.label, folder).result()

    def close(self) -> None:
        self._process.shutdown()


def _answer(place: Place, number: int, label: str, folder: Path) -> None:
    """Runs in the engines' process. Plants contain code and cannot be pickled."""
    from melange.harness.executors.worker import Worker

    plant = PLANTS[number]
    assert plant.label == label
    candidate = place.candidates[plant.candidate]
    planted = plant.recipe(candidate)
    prepared = prepare(planted, place.checkpoints, EngineOptions(), on_a_cpu)
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    if plant.dtype:
        shape = prepared.shape.model_copy(update={"dtype": plant.dtype})
        prepared = prepared._replace(shape=shape)
    served = plant.served(Served(prepared.load.start, prepared), scratch)
    tasks = in_chat(place.tasks) if plant.chat else place.tasks
    load, shape = served.prepared.load, served.prepared.shape
    with plant.code():
        worker = Worker(TaskSet(tasks, place.limit, 0))  # the fault applies while requests are made
        worker.do(Start(load._replace(checkpoint=served.start, making=None), shape))
        reply = worker.do(Evaluate(load, shape, list(tasks)))
        worker._keep(set())
    assert isinstance(reply, Evaluated), reply
    for result in reply.results:
        RunFolder(folder).write_samples(candidate.name, result.task, result.samples, result.columns)


def on_a_cpu(served: Sequence[CheckpointInfo], load: Load, options: EngineOptions) -> EngineShape:
    return shape_of(served, load.start, "cpu", options)


def in_chat(tasks: Tasks) -> dict[str, tuple[Task, Sequence[Any]]]:
    return {
        name: (task.model_copy(update={"chat": True}), sources)
        for name, (task, sources) in tasks.items()
    }


def examine(place: Place, plant: Plant, folder: Path, *, number: int, seed: int = 0) -> list[Check]:
    """The check's result for the samples; it does not know of the fault."""
    tasks = in_chat(place.tasks) if plant.chat else place.tasks
    candidate = place.candidates[plant.candidate]
    examiner = Examiner(Setting(folder, tasks, place.limit, seed, number, "cpu"))
    prepared = prepare(candidate, place.checkpoints, EngineOptions(), on_a_cpu)
    dtype = plant.dtype or prepared.shape.dtype
    return examiner.check(
        Subject(candidate, place.checkpoints.paths, prepared.load.checkpoint, dtype, list(tasks))
    )
