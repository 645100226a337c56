"""Scores a candidate's responses to a task, by lm-eval."""

import copy
import functools
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from math import nan
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from lm_eval.api.instance import Instance
from lm_eval.api.task import Task as LmEvalTask

from melange.harness.errors import HarnessError
from melange.harness.evaluators.lm_eval.kept import asked, kept
from melange.harness.evaluators.lm_eval.metric_values import MetricValues
from melange.harness.records import Task
from melange.harness.samples import SampleColumns, SampleRow, TaskResult


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
    asked: str
    """Hash of its requests."""


class ScoredTask:
    """A registry entry with its lm-eval tasks and the responses of one candidate."""

    def __init__(self, entry: Task, parts: Sequence[LmEvalTask]) -> None:
        self.entry = entry
        self.parts = parts

    @property
    def clusters(self) -> list[str]:
        """Of each example."""
        return [one.cluster for examples in self._examples for one in examples]

    def only(self, asked: Sequence[int]) -> "ScoredTask":
        """The task with the examples at these places, in their order; both share their requests."""
        wanted, numbers, parts = set(asked), itertools.count(), []
        for part in self.parts:
            chosen = [of_doc for _, of_doc in by_doc(part) if next(numbers) in wanted]
            parts.append(copy.copy(part))
            parts[-1]._instances = [instance for of_doc in chosen for instance in of_doc]
        return ScoredTask(self.entry, parts)

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
        samples: list[SampleRow] = []
        rows: list[int] = []
        scored: list[int] = []
        """Places of the samples that have the primary metric."""
        for example, name, responses, items in self._scored(ballots):
            alive()
            found.add(name, items, part=example.part)
            if name == self._kept_filter(example):
                if name == task.filter and found.has_primary(items):
                    scored.append(len(samples))
                samples.append(_sample(example, responses, ballots))
                rows.append(example.row)
        columns = SampleColumns.of(samples)
        values = found.scores([columns.cluster[at] for at in scored])
        scores = np.full(len(samples), np.nan)
        if task.primary_metric in values.scores:
            scores[scored] = values.scores[task.primary_metric]
        return TaskResult(
            task.name,
            values.scores,
            columns._replace(score=scores.tolist()),
            self._num_cut(cut),
            {"example": rows},
            values.intervals,
        )

    def _kept_filter(self, example: _Example) -> str:
        """The filter of the example's sample: the task's, or the first if there is no such filter,
        so that the answers are kept for another scoring."""
        names = example.instances[0].filtered_resps
        return self.entry.filter if self.entry.filter in names else next(iter(names))

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
            if not examples:  # lm-eval's filters cannot take none
                continue
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
            asked=asked(instances),
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


def _sample(
    example: _Example,
    responses: Sequence[Any],
    ballots: Mapping[int, Sequence[str]],
) -> SampleRow:
    """`responses`: what the primary filter left. `ballots`: by instance."""
    voted = ballots.get(id(example.instances[0]))
    found = kept(example.instances, len(example.choices), voted)
    response = str(responses[0])
    if example.choices and found.logprobs:
        best = max(range(len(found.logprobs)), key=found.logprobs.__getitem__)
        response = example.choices[best]
    return SampleRow(
        prompt=example.prompt,
        target=example.target,
        response=response,
        score=nan,  # scores come when all examples are known
        cluster=example.cluster,
        filtered=_filtered(example.instances[0]),
        asked=example.asked,
        **found._asdict(),
    )


def _filtered(instance: Instance) -> dict[str, str] | None:
    """What each filter left of a generated text, where there are several filters."""
    if instance.request_type != "generate_until" or len(instance.filtered_resps) < 2:
        return None
    return {name: str(left) for name, left in instance.filtered_resps.items()}
