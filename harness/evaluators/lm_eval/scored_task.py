"""Scores a candidate's responses to a task, by lm-eval."""

import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from lm_eval.api.instance import Instance
from lm_eval.api.task import Task as LmEvalTask

from melange.harness.errors import HarnessError
from melange.harness.evaluators.lm_eval.metric_values import MetricValues
from melange.harness.records import Task
from melange.harness.samples import SampleColumns, TaskResult


class _Example(NamedTuple):
    """The part of an example that is the same for every candidate."""

    row: int
    part: int
    """Index of the lm-eval task that it belongs to."""
    doc: dict[str, Any]
    instances: Sequence[Instance]
    prompt: str
    target: str
    choices: Sequence[str]
    """Empty for generation."""
    cluster: str


class ScoredTask:
    """A registry entry with its lm-eval tasks and the responses of one candidate."""

    def __init__(self, entry: Task, parts: Sequence[LmEvalTask]) -> None:
        self.entry = entry
        self.parts = parts

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
        task, found = self.entry, MetricValues(self.entry, self.parts)
        samples: list[tuple[Any, ...]] = []
        rows: list[int] = []
        for example, name, responses, items in self._scored(ballots):
            alive()
            found.add(name, items, part=example.part)
            if name == task.filter and found.has_primary(items):
                samples.append(_sample(example, responses))
                rows.append(example.row)
        columns = SampleColumns.of(samples)
        values = found.scores(columns.cluster)
        return TaskResult(
            task.name,
            values.scores,
            columns._replace(score=values.scores.get(task.primary_metric, ())),
            self._num_cut(cut),
            {"example": rows},
            values.intervals,
        )

    def _num_cut(self, cut: Collection[int]) -> int:
        return sum(
            any(id(one) in cut for one in example.instances)
            for examples in self._examples
            for example in examples
        )

    def _scored(
        self, ballots: Mapping[int, Sequence[str]]
    ) -> Iterator[tuple[_Example, str, Sequence[Any], Mapping[str, Any]]]:
        """Each example with each filter: what the filter left of the responses, and what lm-eval
        makes of it for each metric."""
        for part, examples in zip(self.parts, self._examples, strict=True):
            apply_filters(part, ballots)
            for example in examples:
                for name in example.instances[0].filtered_resps:
                    responses = [one.filtered_resps[name] for one in example.instances]
                    yield example, name, responses, part.process_results(example.doc, responses)

    @functools.cached_property
    def _examples(self) -> Sequence[Sequence[_Example]]:
        """Of each part."""
        return [[self._example(at, *of_doc) for of_doc in by_doc(part)]
                for at, part in enumerate(self.parts)]  # fmt: skip

    def _example(self, at: int, doc: dict[str, Any], instances: Sequence[Instance]) -> _Example:
        part = self.parts[at]
        target = part.doc_to_target(doc)
        choices = part.doc_to_choice(doc) if part.OUTPUT_TYPE == "multiple_choice" else ()
        named = choices and isinstance(target, int) and target >= 0
        return _Example(
            row=instances[0].doc_id,
            part=at,
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


def _sample(example: _Example, responses: Sequence[Any]) -> tuple[Any, ...]:
    """A row of `SampleColumns`; scores come when all examples are known."""
    response, logprobs, answer = responses[0], None, ""
    if example.choices:
        logprobs = tuple(float(one[0]) for one in responses[: len(example.choices)])
        response = example.choices[max(range(len(logprobs)), key=logprobs.__getitem__)]
    elif example.instances[0].request_type == "loglikelihood":
        logprobs = (float(responses[0][0]),)
    elif example.instances[0].request_type == "loglikelihood_rolling":
        response, logprobs = "", (float(responses[0]),)
    else:
        answer = str(example.instances[0].resps[0])
    return example.prompt, example.target, str(response), logprobs, 0.0, example.cluster, answer
