"""A few of a candidate's samples on each task, with links to all."""

from typing import Any

from melange.harness.records import Task
from melange.harness.samples import Sample
from melange.reports.analysis.samples.excerpts import goodness
from melange.reports.page import Block, Section
from melange.reports.view import RunView


def block(view: RunView, subject: str) -> Block:
    return Block(data={"tasks": [_task(view, subject, name) for name in view.run.tasks]})


def _task(view: RunView, candidate: str, name: str) -> dict[str, Any]:
    found = view.samples.excerpt(name)
    cell = found.cells.get(candidate)
    return {
        "name": name,
        "num_scored": cell.num_scored if cell else 0,
        "num_right": cell.num_right if cell else 0,
        "samples": [described(s, view.run.tasks[name]) for s in cell.samples] if cell else [],
        "gap": found.gaps.get(candidate, "none of its samples has a score"),
    }


def described(sample: Sample, task: Task | None) -> dict[str, Any]:
    """A sample for a template; long texts are cut, with the number of characters left out."""
    return {
        "example": sample.example,
        "prompt": clipped_prompt(sample.prompt),
        "target": clipped(sample.target),
        "response": clipped(sample.response),
        "whole": clipped(sample.answer) if sample.answer else None,
        "logprobs": sample.logprobs,
        "score": sample.score,
        "verdict": verdict(sample.score, task),
    }


def verdict(score: float, task: Task | None) -> str:
    """`right`, `wrong` or `partly`, by the task's direction."""
    good = goodness(score, task)
    if good >= 1:
        return "right"
    return "wrong" if good <= 0 else "partly"


def clipped_prompt(prompt: str) -> dict[str, Any]:
    """The prompt's question, without the few-shot examples before it."""
    at = prompt.rfind("\n\n", 0, max(0, len(prompt) - 60))
    question = len(prompt) - at - 2
    return clipped(prompt, 300, 900) if at < 0 or question > 1200 else clipped(prompt, 0, question)


def clipped(text: str, head: int = 500, tail: int = 300) -> dict[str, Any]:
    """A text's first `head` and last `tail` characters, or all of it if that would save little."""
    if len(text) <= head + tail + 200:
        return {"head": text, "left_out": 0, "tail": ""}
    left_out = len(text) - head - tail
    return {"head": text[:head], "left_out": left_out, "tail": text[head + left_out :]}


SECTION = Section("Samples", "sections/samples.html", block)
