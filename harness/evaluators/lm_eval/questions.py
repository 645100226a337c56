"""A task's requests as texts, built with the caller's tokenizer."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lm_eval.api.instance import Instance
from lm_eval.models.utils import normalize_gen_kwargs
from transformers import PreTrainedTokenizerBase

from melange.harness.evaluators.lm_eval.loading import load_parts
from melange.harness.evaluators.lm_eval.scored_task import by_doc
from melange.harness.records import Task

NOT_NAMED = 0
"""Stands for the number of new tokens if the task does not set it."""


class Question(NamedTuple):
    """An example as lm-eval asks it."""

    prompt: str
    pairs: Sequence[tuple[str, str]] = ()
    """Context and continuation of each choice; empty for generation."""
    settings: Mapping[str, Any] = {}
    """How text is to be generated, by lm-eval's names."""


class Questions:
    """The questions of a run's tasks; a task is built when it is first needed."""

    def __init__(
        self, tasks: Mapping[str, tuple[Task, Sequence[Any]]], *, limit: int | None, seed: int
    ) -> None:
        self._tasks = tasks
        self._limit = limit
        self._seed = seed
        self._known: dict[tuple[str, ...], dict[int, Question]] = {}

    def prepare(self) -> None:
        """Build the tasks whose prompts are the same for every tokenizer."""
        for name, (entry, sources) in self._tasks.items():
            if not entry.chat:
                self._known.setdefault((name,), self._built(entry, sources, None))

    def of(self, task: str, tokenizer: PreTrainedTokenizerBase) -> Mapping[int, Question]:
        """All examples of the task, by their row in the data set."""
        entry, sources = self._tasks[task]
        # A rendered text depends on nothing else of a tokenizer.
        seen = (str(tokenizer.chat_template), str(tokenizer.special_tokens_map))
        key = (task, *(seen if entry.chat else ()))
        if key not in self._known:
            self._known[key] = self._built(entry, sources, tokenizer)
        return self._known[key]

    def _built(
        self, entry: Task, sources: Sequence[Any], tokenizer: PreTrainedTokenizerBase | None
    ) -> dict[int, Question]:
        parts = load_parts(entry, sources, Renderer(tokenizer), limit=self._limit, seed=self._seed)
        return {
            instances[0].doc_id: _question(part, doc, instances)
            for part in parts
            for doc, instances in by_doc(part)
        }


class Renderer:
    """What lm-eval asks of a model while it builds requests."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase | None) -> None:
        """None if no prompt is a conversation."""
        self._tokenizer = tokenizer

    @property
    def tokenizer_name(self) -> str:
        assert self._tokenizer is not None
        return str(self._tokenizer.name_or_path).replace("/", "__")

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        assert self._tokenizer is not None
        rendered = self._tokenizer.apply_chat_template(
            chat_history,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
        return str(rendered)


def _question(part: Any, doc: dict[str, Any], instances: Sequence[Instance]) -> Question:
    prompt = str(instances[0].args[0])
    if part.OUTPUT_TYPE == "generate_until":
        kwargs = normalize_gen_kwargs(instances[0].args[1], NOT_NAMED)
        return Question(prompt, settings=dict(kwargs))
    if part.OUTPUT_TYPE == "loglikelihood_rolling":
        return Question(prompt, pairs=[("", prompt)])
    choices = part.doc_to_choice(doc) if part.OUTPUT_TYPE == "multiple_choice" else [""]
    return Question(prompt, pairs=[one.args for one in instances[: len(choices)]])
