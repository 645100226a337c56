"""All samples of a task, side by side: data and controls for assets/samples.js."""

from collections.abc import Sequence

from markupsafe import Markup

from melange.reports.page import Block, Section
from melange.reports.pages.samples.packed import packed
from melange.reports.view import RunView

COLUMNS_SHOWN = 4


def block(view: RunView, subject: str) -> Block:
    table = view.samples.table(subject)
    # Other pages' excerpts are taken while the samples are in memory.
    view.samples.excerpt(subject)
    task = view.run.tasks[subject]
    facts, pieces = packed(table, view.candidate_slugs)
    shown = default_columns(view, list(table.answers))
    facts |= {
        "higherIsBetter": task is None or task.higher_is_better,
        "shown": [view.candidate_slugs[name] for name in shown],
    }
    return Block(
        data={
            "facts": facts,
            # Base64 contains no markup, and escaping megabytes takes long.
            "pieces": {kind: [Markup(one) for one in all_] for kind, all_ in pieces.items()},
            "num_examples": len(table.examples_N),
            "names": list(table.answers),
            "shown": shown,
            "gaps": table.gaps,
        }
    )


def default_columns(view: RunView, answered: Sequence[str]) -> list[str]:
    """The suite's reference and the leader, then the best of every other family."""
    suite = view.run.manifest.suite
    ranked = [name for name in view.ranking if name in answered]
    first = [suite.reference] if suite and suite.reference in ranked else []
    best: dict[str, str] = {}
    for name in [*first, *ranked]:
        best.setdefault(view.run.families[name], name)
    return list(dict.fromkeys([*first, *ranked[:1], *best.values(), *ranked]))[:COLUMNS_SHOWN]


SECTION = Section("Samples", "sections/samples_browser.html", block)
