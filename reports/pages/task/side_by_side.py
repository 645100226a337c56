"""The examples on which candidates disagree most, with their responses."""

from collections.abc import Mapping
from typing import Any

from melange.harness.samples import Sample
from melange.reports.page import Block, Section
from melange.reports.pages.candidate.samples import described
from melange.reports.view import RunView

RESPONSES = 12
"""Number of candidates, the best ones; the browser of samples has the others."""


def block(view: RunView, subject: str) -> Block:
    found = view.samples.excerpt(subject)
    return Block(
        data={
            "examples": [
                _example(view, subject, example, samples)
                for example, samples in found.telling.items()
            ],
            "num_examples": found.num_examples,
            "gaps": found.gaps,
        }
    )


def _example(
    view: RunView, task: str, example: int, samples: Mapping[str, Sample]
) -> dict[str, Any]:
    record = view.run.tasks[task]
    shown = {name: described(sample, record) for name, sample in samples.items()}
    first = next(iter(shown.values()))
    return {
        "example": example,
        "responses": [
            {"candidate": name, "style": view.style(name), "sample": sample}
            for name, sample in list(shown.items())[:RESPONSES]
        ],
        "num_answers": len(shown),
        "num_right": sum(sample["verdict"] == "right" for sample in shown.values()),
        "prompt": first["prompt"],
        "target": first["target"],
    }


SECTION = Section("The same example, every candidate", "sections/side_by_side.html", block)
