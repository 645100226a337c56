"""What else differs between the two runs."""

from melange.reports.page import Block, Section
from melange.reports.view import RunView


def block(view: RunView, subject: str) -> Block | None:
    if view.comparison is None:
        return None
    return Block(data={"differences": view.comparison.differences})


SECTION = Section("Environment", "sections/compare_environment.html", block)
