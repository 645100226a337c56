"""The examples on which candidates disagree most, with their responses."""

from collections.abc import Mapping
from typing import Any

from melange.harness.samples import Sample
from melange.reports.pages import Block
from melange.reports.pages.candidate.samples import described
from melange.reports.view import Report

RESPONSES = 12
"""Of the best candidates; all others are in the browser."""


class SideBySide:
    page = "task"
    order = 20
    title = "The same example, every candidate"
    template = "sections/side_by_side.html"

    def block(self, report: Report, subject: str) -> Block:
        found = report.samples.excerpt(subject)
        return Block(
            data={
                "examples": [
                    _example(report, subject, example, samples)
                    for example, samples in found.telling.items()
                ],
                "num_examples": found.num_examples,
                "gaps": found.gaps,
            }
        )


def _example(
    report: Report, task: str, example: int, samples: Mapping[str, Sample]
) -> dict[str, Any]:
    record = report.run.tasks[task]
    shown = {name: described(sample, record) for name, sample in samples.items()}
    first = next(iter(shown.values()))
    return {
        "example": example,
        "responses": [
            {"candidate": name, "look": report.look(name), "sample": sample}
            for name, sample in list(shown.items())[:RESPONSES]
        ],
        "num_answers": len(shown),
        "num_right": sum(sample["verdict"] == "right" for sample in shown.values()),
        "prompt": first["prompt"],
        "target": first["target"],
    }


SECTION = SideBySide()
