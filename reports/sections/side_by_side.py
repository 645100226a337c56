"""The same example with each candidate's response."""

from typing import Any

from harness.records import Sample
from reports.report import SAMPLES_READ, Report
from reports.sections import Block
from reports.sections.samples import described

EXAMPLES = 4


class SideBySide:
    page = "task"
    order = 20
    title = "The same example, every candidate"
    template = "sections/side_by_side.html"

    def block(self, report: Report, subject: str) -> Block:
        found = {name: report.samples(name, subject) for name in report.ranking}
        kept = {name: samples for name, samples in found.items() if samples}
        return Block(
            data={
                "examples": [
                    _example(report, subject, example, kept) for example in telling_examples(kept)
                ],
                "missing": [name for name in found if name not in kept],
                "read": SAMPLES_READ,
            }
        )


def telling_examples(kept: dict[str, list[Sample]]) -> list[int]:
    """Those on which the candidates disagree most, by the variance of their scores."""
    scores: dict[int, list[float]] = {}
    for samples in kept.values():
        for sample in samples:
            scores.setdefault(sample.example, []).append(sample.score)
    most = max(map(len, scores.values()), default=0)
    complete = [example for example, values in scores.items() if 2 * len(values) >= most]
    return sorted(complete, key=lambda example: (-_variance(scores[example]), example))[:EXAMPLES]


def _variance(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return sum((v - mean) ** 2 for v in values) / len(values)


def _example(
    report: Report, task: str, example: int, kept: dict[str, list[Sample]]
) -> dict[str, Any]:
    record = report.run.tasks[task]
    responses: list[dict[str, Any]] = [
        {"candidate": name, "look": report.look(name), "sample": described(sample, record)}
        for name, samples in kept.items()
        for sample in samples
        if sample.example == example
    ]
    return {
        "example": example,
        "responses": responses,
        "num_right": sum(r["sample"]["verdict"] == "right" for r in responses),
        "prompt": responses[0]["sample"]["prompt"],
        "target": responses[0]["sample"]["target"],
    }


SECTION = SideBySide()
