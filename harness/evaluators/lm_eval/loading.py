"""lm-eval's tasks with their requests."""

import contextlib
import functools
import os
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml
from lm_eval.api.task import Task as LmEvalTask
from lm_eval.tasks import TaskManager
from lm_eval.utils import env as template_environment

from melange.harness.evaluators.lm_eval.rows import ask_rows
from melange.harness.records import Task

FEWSHOT_SEED = 1234
"""lm-eval's own default: with seed 0 the shots are those of its command line."""

# lm-eval compiles a task's template for every row, which takes 80 % of building requests.
template_environment.from_string = functools.cache(template_environment.from_string)


class Renders(Protocol):
    """Renders conversations as prompts."""

    @property
    def tokenizer_name(self) -> str: ...

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str: ...


def load_parts(
    task: Task, sources: Sequence[Any], lm: Renders, *, limit: int | None, seed: int
) -> list[LmEvalTask]:
    """The lm-eval tasks behind an entry: one, or the parts of a whole such as mmlu.

    `limit`: rows of each part, drawn by seed. Requests' `doc_id` is the row's number, counted
    through all parts.
    """
    parts = [part for source in sources for part in _from_source(source)]
    num_rows = 0
    for part in parts:
        shots = task.num_fewshot
        if shots is None:
            shots = part.get_config("num_fewshot") or 0
        part.set_config(key="num_fewshot", value=shots)
        part.set_fewshot_seed(seed=FEWSHOT_SEED + seed)
        part.doc_to_target = _remembered(part.doc_to_target)
        part.doc_to_choice = _remembered(part.doc_to_choice)
        with _seeded(seed):
            num_rows += ask_rows(part, limit=limit, seed=seed, first=num_rows)
        with _quiet():
            part.build_all_requests(
                apply_chat_template=task.chat,
                fewshot_as_multiturn=task.chat,
                chat_template=lm.apply_chat_template if task.chat else None,
                tokenizer_name=lm.tokenizer_name if task.chat else "",
            )
    return parts


def _remembered(of_doc: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Caches what lm-eval renders at every call, though it depends only on the doc."""
    known: dict[int, Any] = {}

    def remembered(doc: Any, *arguments: Any) -> Any:
        if arguments:
            return of_doc(doc, *arguments)
        if id(doc) not in known:  # requests keep their docs alive, so ids are not reused
            known[id(doc)] = of_doc(doc)
        return known[id(doc)]

    return remembered


def _from_source(source: str | dict[str, Any]) -> list[LmEvalTask]:
    if isinstance(source, str):  # a bare name needs lm-eval's index of all its tasks
        return list(TaskManager().load([source])["tasks"].values())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.yaml"
        path.write_text(yaml.safe_dump(source))
        return list(TaskManager(include_defaults=False).load([str(path)])["tasks"].values())


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seeds Python's own generator, with which some tasks (GPQA) shuffle their choices: every
    candidate has to see the same ones."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """lm-eval draws a progress bar per task while it builds requests."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        yield
