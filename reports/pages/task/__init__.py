"""A task's page, with every candidate's score."""

from melange.reports.page import Page, one_each
from melange.reports.pages.task import (
    about_task,
    ranking,
    side_by_side,
)

PAGE = Page(
    name="task",
    title="Task",
    order=120,
    template="task.html",
    subjects=lambda view: one_each("tasks", view.task_slugs),
    sections=(
        about_task.SECTION,
        ranking.SECTION,
        side_by_side.SECTION,
    ),
)
