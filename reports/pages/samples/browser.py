"""All samples of a task, side by side: data and controls for assets/samples.js."""

from collections.abc import Sequence

from markupsafe import Markup

from melange.reports.pages import Block
from melange.reports.pages.samples.packed import packed
from melange.reports.view import Report

COLUMNS_SHOWN = 4


class SamplesBrowser:
    page = "samples"
    order = 10
    title = "Samples"
    template = "sections/samples_browser.html"

    def block(self, report: Report, subject: str) -> Block:
        table = report.samples.table(subject)
        # What other pages show of them, while they are in memory.
        report.samples.excerpt(subject)
        task = report.run.tasks[subject]
        facts, pieces = packed(table, report.candidate_slugs)
        shown = default_columns(report, list(table.answers))
        facts |= {
            "higherIsBetter": task is None or task.higher_is_better,
            "shown": [report.candidate_slugs[name] for name in shown],
        }
        return Block(
            data={
                "facts": facts,
                # Base64 holds no markup, and to look for some in megabytes takes its time.
                "pieces": {kind: [Markup(one) for one in all_] for kind, all_ in pieces.items()},
                "num_examples": len(table.examples_N),
                "names": list(table.answers),
                "shown": shown,
                "gaps": table.gaps,
            }
        )


def default_columns(report: Report, answered: Sequence[str]) -> list[str]:
    """The suite's reference and the leader, then the best of each family not yet shown."""
    suite = report.run.manifest.suite
    ranked = [name for name in report.ranking if name in answered]
    first = [suite.reference] if suite and suite.reference in ranked else []
    best: dict[str, str] = {}
    for name in [*first, *ranked]:
        best.setdefault(report.run.families[name], name)
    return list(dict.fromkeys([*first, *ranked[:1], *best.values(), *ranked]))[:COLUMNS_SHOWN]


SECTION = SamplesBrowser()
