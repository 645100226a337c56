"""A candidate's examples that transformers answered too, with both answers."""

from melange.reports.analysis.checks import candidate_sentence
from melange.reports.pages import Block
from melange.reports.view import Report


class CheckedExamples:
    page = "candidate"
    order = 45
    title = "Checked against transformers"
    template = "sections/checked_examples.html"

    def block(self, report: Report, subject: str) -> Block | None:
        if not report.run.tasks:
            return None
        lines = report.run.checks_of.get(subject, [])
        made = dict.fromkeys(one.reference for one in lines if one.reference)
        return Block(
            data={
                "sentence": candidate_sentence(report.run, subject),
                "made": ", ".join(made),
                "lines": sorted(lines, key=lambda one: one.verdict != "disputed"),
            }
        )


SECTION = CheckedExamples()
