"""Evaluates candidates, one after the other, on lm-eval's tasks."""

import functools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lm_eval.api.instance import Instance
from transformers import AutoTokenizer

from melange.harness.contracts import Session
from melange.harness.evaluators.lm_eval.loading import load_parts
from melange.harness.evaluators.lm_eval.scored_task import ScoredTask
from melange.harness.evaluators.lm_eval.session_lm import SessionLM
from melange.harness.racing.batches import Share, cluster_names, places
from melange.harness.records import Task
from melange.harness.requests import Completion, Generation, Request, Route, Score, Tokens
from melange.harness.samples import TaskResult


class LmEvalEvaluator:
    """A run's tasks with their requests, for all candidates with one tokenizer."""

    def __init__(
        self,
        tasks: Mapping[str, tuple[Task, Sequence[Any]]],
        tokenizer_path: Path,
        *,
        limit: int | None,
        seed: int,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        """`tasks`: name -> (our entry, its sources: task names, or configurations by path).

        `alive` is called now and then while the engine is idle.
        """
        self._alive = alive
        self._seed = seed
        self._shares: dict[tuple[str, Share], ScoredTask] = {}
        self._tokenizer = AutoTokenizer.from_pretrained(tokenizer_path)
        self._lm = SessionLM(NoEngine(), self._tokenizer, seed)
        self._tasks = {
            name: self._load(task, sources, limit=limit, seed=seed)
            for name, (task, sources) in tasks.items()
        }

    def _load(
        self, task: Task, sources: Sequence[Any], *, limit: int | None, seed: int
    ) -> ScoredTask:
        self._alive()
        return ScoredTask(task, load_parts(task, sources, self._lm, limit=limit, seed=seed))

    def evaluate(
        self, engine: Session, names: Sequence[str], share: Share | None = None
    ) -> Iterator[TaskResult]:
        """Score the named tasks, all requests of one kind in one call to the engine."""
        asked = {name: self._share(name, share) for name in names}
        self._lm.engine = engine
        self._lm.cut.clear()
        self._lm.ballots.clear()
        instances: dict[str, list[Instance]] = defaultdict(list)
        for name in names:
            for part in asked[name].parts:
                for instance in part.instances:
                    instance.resps, instance.filtered_resps = [], {}
                    instances[instance.request_type].append(instance)
        for request_type, batch in instances.items():
            self._respond(request_type, batch)
        for name in names:
            yield asked[name].result(self._alive, self._lm.cut, self._lm.ballots)

    def _share(self, name: str, share: Share | None) -> ScoredTask:
        """The task with the examples of this share."""
        if share is None:
            return self._tasks[name]
        if (name, share) not in self._shares:
            asked = share.of(self._places[name])
            self._shares[name, share] = self._tasks[name].only(asked)
        return self._shares[name, share]

    @functools.cached_property
    def _places(self) -> Mapping[str, np.ndarray]:
        """Of each task's examples in the order of a race."""
        clusters = {
            name: cluster_names(task.entry, task.clusters) for name, task in self._tasks.items()
        }
        return places(clusters, self._seed)

    def _respond(self, request_type: str, instances: Sequence[Instance]) -> None:
        repeated = [one for one in instances for _ in range(one.repeats or 1)]
        responses = getattr(self._lm, request_type)(repeated)
        for instance, response in zip(repeated, responses, strict=True):
            instance.resps.append(response)


class NoEngine:
    """A stand-in while requests are built, before there is an engine."""

    max_model_len = 1 << 31

    def score(self, requests: Sequence[Request]) -> list[Score]:
        raise AssertionError("no engine yet")

    def generate(self, generations: Sequence[Generation]) -> list[Completion]:
        raise AssertionError("no engine yet")

    def reward(self, texts: Sequence[Tokens]) -> list[float]:
        raise AssertionError("no engine yet")

    def route(self, texts: Sequence[Tokens]) -> list[Route]:
        raise AssertionError("no engine yet")
