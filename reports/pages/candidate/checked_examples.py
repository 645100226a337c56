"""A candidate's examples that were checked with transformers, with both answers."""

from melange.reports.analysis.checks import candidate_sentence
from melange.reports.page import Block, Section
from melange.reports.view import RunView


def block(view: RunView, subject: str) -> Block | None:
    if not view.run.tasks:
        return None
    lines = view.run.checks_of.get(subject, [])
    made = dict.fromkeys(one.reference for one in lines if one.reference)
    return Block(
        data={
            "sentence": candidate_sentence(view.run, subject),
            "made": ", ".join(made),
            "lines": sorted(lines, key=lambda one: one.verdict != "disputed"),
        }
    )


SECTION = Section("Checked against transformers", "sections/checked_examples.html", block)
