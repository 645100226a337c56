"""A comparison's verdict, in one sentence with the cells behind it."""

from melange.reports.analysis.comparison import Change, Kind
from melange.reports.analysis.comparison.conclusion import Comparison, amount
from melange.reports.analysis.comparison.judging import ALPHA
from melange.reports.analysis.comparison.missing import Gap
from melange.reports.page import Block, Section
from melange.reports.tables.comparison import comparison_table
from melange.reports.view import RunView

NAMED = 12
"""Number of candidates that a reason names; the others are counted."""
ROWS = 50
KINDS = {
    Kind.QUALITY: "accuracy of a candidate on a task",
    Kind.CANDIDATE: "accuracy of a candidate over its tasks",
    Kind.TASK: "accuracy of all candidates on a task",
    Kind.BOARD: "accuracy of all candidates on all tasks",
    Kind.SPEED: "speed of a candidate over its workloads",
    Kind.WORKLOAD: "speed of a candidate on a workload",
    Kind.ENGINE: "speed of all candidates",
    Kind.TIMING: "latency, decoding rate and such, of a candidate or of all",
    Kind.STEADINESS: "disturbed rounds of a candidate",
    Kind.MEMORY: "memory or size of a candidate",
    Kind.BUILD: "build time of a candidate",
}


def block(view: RunView, subject: str) -> Block | None:
    comparison = view.comparison
    if comparison is None:
        return None
    return Block(
        data={
            "sentence": comparison.sentence,
            "sight": comparison.sight,
            "alpha": ALPHA,
            "named": NAMED,
            "groups": [group for group in _groups(comparison) if group["rows"]],
            "missing": _missing(comparison),
            "noted": comparison.noted,
            "runs": [
                ("Baseline", comparison.old.folder.name, comparison.old.manifest.finished),
                ("This run", comparison.new.folder.name, comparison.new.manifest.finished),
            ],
            "counts": [(words, *_counts(comparison.of(kind))) for kind, words in KINDS.items()],
        },
        tables={"comparison": comparison_table(comparison)},
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
            "style": style,
            "rows": [{"change": one, "amount": amount(one)} for one in changes[:ROWS]],
            "left_out": max(0, len(changes) - ROWS),
        }
        for title, style, changes in found
    ]


def _missing(comparison: Comparison) -> list[Gap]:
    """Those that nobody has waived first."""
    return [*comparison.unjudged, *comparison.waived]


def _counts(changes: list[Change]) -> tuple[int, int]:
    """Numbers of changes that were judged, and that were not."""
    refused = sum(bool(one.reason) for one in changes)
    return len(changes) - refused, refused


SECTION = Section("Verdict", "sections/compare_verdict.html", block)
