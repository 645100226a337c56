"""What a comparison comes to, in one sentence and the cells behind it."""

from melange.reports.analysis.comparison import Change, Kind
from melange.reports.analysis.comparison.verdict import ALPHA, Comparison, amount
from melange.reports.pages import Block
from melange.reports.tables.comparison import to_frame
from melange.reports.view import Report

ROWS = 50
KINDS = {
    Kind.QUALITY: "accuracy of a candidate on a task",
    Kind.SPEED: "speed of a candidate over its workloads",
    Kind.WORKLOAD: "speed of a candidate on a workload",
    Kind.ENGINE: "speed of all candidates",
    Kind.MEMORY: "memory of a candidate",
}


class CompareVerdict:
    page = "compare"
    order = 10
    title = "Verdict"
    template = "sections/compare_verdict.html"

    def block(self, report: Report, subject: str) -> Block | None:
        comparison = report.comparison
        if comparison is None:
            return None
        return Block(
            data={
                "sentence": comparison.sentence,
                "sight": comparison.sight,
                "alpha": ALPHA,
                "groups": [group for group in _groups(comparison) if group["rows"]],
                "runs": [
                    ("Baseline", comparison.old.folder.name, comparison.old.manifest.finished),
                    ("This run", comparison.new.folder.name, comparison.new.manifest.finished),
                ],
                "counts": [(words, *_counts(comparison.of(kind))) for kind, words in KINDS.items()],
            },
            tables={"comparison": to_frame(comparison)},
        )


def _groups(comparison: Comparison) -> list[dict[str, object]]:
    found = [
        ("Regressions", "worse", comparison.regressions),
        ("Failed here, measured before", "worse", comparison.lost),
        ("Improvements", "better", comparison.improvements),
    ]
    return [
        {
            "title": title,
            "look": look,
            "rows": [{"change": one, "amount": amount(one)} for one in changes[:ROWS]],
            "left_out": max(0, len(changes) - ROWS),
        }
        for title, look, changes in found
    ]


def _counts(changes: list[Change]) -> tuple[int, int]:
    """Compared, and not."""
    refused = sum(bool(one.reason) for one in changes)
    return len(changes) - refused, refused


SECTION = CompareVerdict()
