"""Scores answers again that a run has kept, by the same lm-eval tasks, without an engine."""

from collections.abc import Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import Task as LmEvalTask

from melange.harness.errors import HarnessError
from melange.harness.evaluators.lm_eval.kept import asked, put_back
from melange.harness.evaluators.lm_eval.loading import load_parts
from melange.harness.evaluators.lm_eval.scored_task import ScoredTask, by_doc
from melange.harness.records import Task
from melange.harness.samples import Sample, SampleColumns, TaskResult

OLDER = "its samples were kept by a version that did not keep all that scoring needs"


class LmEvalRescorer:
    """A task as it is defined now. A conversation's prompt is known by its last message, so no
    tokenizer is needed."""

    def __init__(self, task: Task, sources: Sequence[Any], *, limit: int | None, seed: int) -> None:
        parts = load_parts(task, sources, LastMessage(), limit=limit, seed=seed)
        self._scored = ScoredTask(task, parts)
        self._examples = [one for part in parts for one in _examples(part)]

    def rescore(self, samples: Sequence[Sample]) -> TaskResult:
        """Score what the samples keep; their prompts stay as they were asked.

        Raises:
            HarnessError: an answer was given to other requests than the task now has.
        """
        scored = self._asked(samples)
        examples = [one for part in scored.parts for one in _examples(part)]
        ballots: dict[int, Sequence[str]] = {}
        for sample, instances in zip(samples, examples, strict=True):
            self._check(sample, instances)
            if voted := put_back(instances, sample):
                ballots[id(instances[0])] = voted
        result = scored.result(lambda: None, (), ballots)
        return result._replace(samples=_with_prompts(result.samples, samples))

    def _asked(self, samples: Sequence[Sample]) -> ScoredTask:
        """The task with the examples that were asked: fewer than all if a race ended early.

        Raises:
            HarnessError: the task does not have all of them now.
        """
        wanted = {one.example for one in samples}
        places = [at for at, one in enumerate(self._examples) if one[0].doc_id in wanted]
        if len(places) < len(samples):
            raise HarnessError(
                f"its samples are {len(samples)}, of which the task now has {len(places)}"
            )
        return self._scored if len(places) == len(self._examples) else self._scored.only(places)

    def _check(self, sample: Sample, instances: Sequence[Instance]) -> None:
        if not sample.asked:
            raise HarnessError(OLDER)
        prompt = str(instances[0].args[0])
        chat = self._scored.entry.chat
        if not (prompt in sample.prompt if chat else prompt == sample.prompt):
            raise HarnessError(f"example {sample.example}: the task now has another prompt")
        if asked(instances) != sample.asked:
            raise HarnessError(
                f"example {sample.example}: the task now asks for other continuations, or with "
                "other settings of generation"
            )


class LastMessage:
    """Renders a conversation as the text of the user's last message."""

    tokenizer_name = ""

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        said = [one["content"] for one in chat_history if one["role"] == "user"]
        return said[-1].strip()


def _examples(part: LmEvalTask) -> list[list[Instance]]:
    return [instances for _, instances in by_doc(part)]


def _with_prompts(scored: SampleColumns, kept: Sequence[Sample]) -> SampleColumns:
    """A sample was scored for each that is kept, or some have no score, which the caller sees."""
    if len(scored.score) != len(kept):
        return scored
    return scored._replace(prompt=[one.prompt for one in kept])
