"""What a task asks, how it is scored, and whether it counts for the mean."""

from melange.reports.page import Block, Section
from melange.reports.view import RunView


def block(view: RunView, subject: str) -> Block:
    column = view.column(f"task-{subject}")
    assert column is not None
    return Block(
        data={
            "task": view.run.tasks[subject],
            "metric": view.run.primary_metric(subject),
            "scale": column.scale,
            "mean_gap": view.scope.left_out.get(subject, ""),
        }
    )


SECTION = Section("About the task", "sections/about_task.html", block)
