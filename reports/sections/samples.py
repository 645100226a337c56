"""The first examples of each task with a candidate's response."""

from typing import Any

from harness.records import Sample, Task
from reports.report import SAMPLES_READ, Report
from reports.sections import Block

PROMPT_LETTERS, RESPONSE_LETTERS = 1500, 1500


class Samples:
    page = "candidate"
    order = 50
    title = "Samples"
    template = "sections/samples.html"

    def block(self, report: Report, subject: str) -> Block:
        return Block(
            data={
                "tasks": [_task(report, subject, name) for name in report.run.tasks],
                "shown": SAMPLES_READ,
            }
        )


def _task(report: Report, candidate: str, name: str) -> dict[str, Any]:
    found = report.samples(candidate, name)
    quality = report.run.quality(candidate, name)
    shown = [described(sample, report.run.tasks[name]) for sample in found or []]
    return {
        "name": name,
        "n": quality.n,
        "samples": shown,
        "num_right": sum(sample["verdict"] == "right" for sample in shown),
        "gap": ""
        if shown
        else f"No samples were kept: {quality.reason}."
        if quality.value is None
        else "No samples were kept for this cell.",
    }


def described(sample: Sample, task: Task | None) -> dict[str, Any]:
    """A sample as a template shows it; long texts are cut, with the count of what is left."""
    return {
        "example": sample.example,
        "prompt": clipped(sample.prompt, PROMPT_LETTERS),
        "target": clipped(sample.target, RESPONSE_LETTERS),
        "response": clipped(sample.response, RESPONSE_LETTERS),
        "logprobs": sample.logprobs,
        "score": sample.score,
        "verdict": verdict(sample.score, task),
    }


def verdict(score: float, task: Task | None) -> str:
    """`right`, `wrong` or `partly`, by the task's direction."""
    good = score if task is None or task.higher_is_better else 1 - score
    if good >= 1:
        return "right"
    return "wrong" if good <= 0 else "partly"


def clipped(text: str, letters: int) -> dict[str, Any]:
    """Prompts keep their end, where the question stands, and half of the room at their start."""
    if len(text) <= letters:
        return {"head": text, "left_out": 0, "tail": ""}
    half = letters // 2
    return {"head": text[:half], "left_out": len(text) - 2 * half, "tail": text[-half:]}


SECTION = Samples()
