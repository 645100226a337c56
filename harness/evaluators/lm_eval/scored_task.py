"""Scores a candidate's responses to a task, by lm-eval."""

import copy
import functools
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from lm_eval.api.instance import Instance
from lm_eval.api.task import Task as LmEvalTask

from melange.harness.errors import HarnessError
from melange.harness.records import Task
from melange.harness.samples import SampleColumns, TaskResult


class _Example(NamedTuple):
    """The part of an example that is the same for every candidate."""

    doc: dict[str, Any]
    instances: Sequence[Instance]
    prompt: str
    target: str
    choices: Sequence[str]
    """Empty for generation."""
    cluster: str


class ScoredTask:
    """A registry entry with its lm-eval tasks and the responses of one candidate."""

    def __init__(
        self, entry: Task, parts: Sequence[LmEvalTask], asked: Sequence[int] | None = None
    ) -> None:
        """`asked`: numbers of the examples that the parts have; None: all."""
        self.entry = entry
        self.parts = parts
        self._examples_asked = asked

    @property
    def clusters(self) -> list[str]:
        """Of each example."""
        return [one.cluster for examples in self._examples for one in examples]

    def only(self, asked: Sequence[int]) -> "ScoredTask":
        """The task with these examples of its own, in this order; both share their requests."""
        wanted, numbers, parts = set(asked), itertools.count(), []
        for part in self.parts:
            chosen = [of_doc for _, of_doc in by_doc(part) if next(numbers) in wanted]
            parts.append(copy.copy(part))
            parts[-1]._instances = [instance for of_doc in chosen for instance in of_doc]
        return ScoredTask(self.entry, parts, asked)

    def result(
        self,
        alive: Callable[[], None],
        cut: Collection[int],
        ballots: Mapping[int, Sequence[str]] = MappingProxyType({}),
    ) -> TaskResult:
        """Score the responses.

        `alive` is called after each example: scoring may run what a model wrote. `cut`: ids of the
        instances whose prompt lost its beginning. `ballots`: by instance, what was voted on.
        """
        task, values = self.entry, defaultdict[str, list[float]](list)
        rows: list[tuple[Any, ...]] = []
        for example, name, responses, metrics in self._scored(ballots):
            alive()
            for metric, value in metrics.items():
                key = metric if name == task.filter else f"{metric},{name}"
                values[key].append(value)
            if name == task.filter and task.primary_metric in metrics:
                rows.append(_sample(example, responses, metrics[task.primary_metric]))
        columns = None if self._examples_asked is None else {"example": self._examples_asked}
        return TaskResult(task.name, values, SampleColumns.of(rows), self._num_cut(cut), columns)

    def _num_cut(self, cut: Collection[int]) -> int:
        return sum(
            any(id(one) in cut for one in example.instances)
            for examples in self._examples
            for example in examples
        )

    def _scored(
        self, ballots: Mapping[int, Sequence[str]]
    ) -> Iterator[tuple[_Example, str, Sequence[Any], dict[str, float]]]:
        """Each example with each filter: what the filter left of the responses, and the metrics
        that are numbers."""
        for part, examples in zip(self.parts, self._examples, strict=True):
            if not examples:  # lm-eval's filters cannot take none
                continue
            apply_filters(part, ballots)
            for example in examples:
                for name in example.instances[0].filtered_resps:
                    responses = [one.filtered_resps[name] for one in example.instances]
                    found = part.process_results(example.doc, responses)
                    numbers = {k: float(v) for k, v in found.items() if isinstance(v, int | float)}
                    yield example, name, responses, numbers

    @functools.cached_property
    def _examples(self) -> Sequence[Sequence[_Example]]:
        """Of each part."""
        return [[self._example(part, *of_doc) for of_doc in by_doc(part)] for part in self.parts]

    def _example(
        self, part: LmEvalTask, doc: dict[str, Any], instances: Sequence[Instance]
    ) -> _Example:
        target = part.doc_to_target(doc)
        choices = part.doc_to_choice(doc) if part.OUTPUT_TYPE == "multiple_choice" else ()
        named = choices and isinstance(target, int) and target >= 0
        return _Example(
            doc=doc,
            instances=instances,
            prompt=str(instances[0].args[0]),
            target=str(choices[target]) if named else str(target),
            choices=[str(choice) for choice in choices],
            cluster=_cluster(self.entry, doc),
        )


def apply_filters(part: LmEvalTask, ballots: Mapping[int, Sequence[str]]) -> None:
    """Extract each response's answer. Where responses were voted on, the majority of the extracted
    answers counts: chains of thought rarely agree, their answers do."""
    voted = [one for one in part.instances if id(one) in ballots and len(one.resps) == 1]
    counts: dict[int, dict[str, Counter[str]]] = {id(one): defaultdict(Counter) for one in voted}
    first: dict[tuple[int, str, str], tuple[Any, str]] = {}
    for number in range(max((len(ballots[id(one)]) for one in voted), default=0)):
        for one in voted:
            one.resps = [ballots[id(one)][number]]
        part.apply_filters()
        for one in voted:
            for name, extracted in one.filtered_resps.items():
                key = str(extracted).strip()
                counts[id(one)][name][key] += 1
                first.setdefault((id(one), name, key), (extracted, one.resps[0]))
    if len(voted) < len(part.instances):
        part.apply_filters()
    for one in voted:
        for name, votes in counts[id(one)].items():
            winner = votes.most_common(1)[0][0]
            one.filtered_resps[name], one.resps[0] = first[id(one), name, winner]


def _cluster(task: Task, doc: Mapping[str, Any]) -> str:
    """The cluster of examples that are not independent of this one.

    Raises:
        HarnessError: the examples have no such column.
    """
    if task.cluster_by and task.cluster_by not in doc:
        raise HarnessError(
            f"{task.name}: cluster_by={task.cluster_by!r}, but its examples have no such column; "
            f"they have {', '.join(doc)}."
        )
    return str(doc[task.cluster_by]) if task.cluster_by else ""


def by_doc(part: LmEvalTask) -> Iterator[tuple[dict[str, Any], list[Instance]]]:
    """A task's examples, in order, each with its requests."""
    by_doc: dict[int, list[Instance]] = defaultdict(list)
    for instance in part.instances:
        by_doc[instance.doc_id].append(instance)
    for instances in by_doc.values():
        instances.sort(key=lambda instance: instance.idx)
        yield instances[0].doc, instances


def _sample(example: _Example, responses: Sequence[Any], score: float) -> tuple[Any, ...]:
    """A row of `SampleColumns`."""
    response, logprobs, answer = responses[0], None, ""
    if example.choices:
        logprobs = tuple(float(one[0]) for one in responses[: len(example.choices)])
        response = example.choices[max(range(len(logprobs)), key=logprobs.__getitem__)]
    elif example.instances[0].request_type == "loglikelihood":
        logprobs = (float(responses[0][0]),)
    else:
        answer = str(example.instances[0].resps[0])
    return example.prompt, example.target, str(response), logprobs, score, example.cluster, answer
