"""Lengths of tasks' requests, computed without an engine."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from transformers import AutoTokenizer

from melange.harness.evaluators.lm_eval.evaluator import NoEngine
from melange.harness.evaluators.lm_eval.loading import load_parts
from melange.harness.evaluators.lm_eval.session_lm import SessionLM
from melange.harness.records import Task
from melange.harness.requests import Length


def longest_requests(
    tasks: Mapping[str, tuple[Task, Sequence[Any]]],
    tokenizer_path: Path,
    *,
    limit: int | None,
    seed: int,
) -> dict[str, Length]:
    """By task. A task that fails with this tokenizer is left out: its cell will have the reason."""
    lm = SessionLM(NoEngine(), AutoTokenizer.from_pretrained(tokenizer_path), seed)
    found = {}
    for name, (task, sources) in tasks.items():
        try:
            parts = load_parts(task, sources, lm, limit=limit, seed=seed)
            lengths = list(_lengths(lm, [one for part in parts for one in part.instances]))
        except Exception:  # whatever a task's own code raises
            continue
        found[name] = Length(*map(max, zip(*lengths, strict=True))) if lengths else Length(0, 0)
    return found


def _lengths(lm: SessionLM, instances: Sequence[Instance]) -> Iterator[Length]:
    for kind in {one.request_type for one in instances}:
        of_kind = [one.args for one in instances if one.request_type == kind]
        if kind == "loglikelihood":
            yield from lm.likelihood_lengths(of_kind)
        elif kind == "generate_until":
            yield from lm.generation_lengths(of_kind)
        # What is scored in windows fits any context.
