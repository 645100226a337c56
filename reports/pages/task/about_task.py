"""What a task asks, how it is scored, and whether it counts for the mean."""

from melange.reports.pages import Block
from melange.reports.view import Report


class AboutTask:
    page = "task"
    order = 5
    title = "About the task"
    template = "sections/about_task.html"

    def block(self, report: Report, subject: str) -> Block:
        column = report.column(f"task-{subject}")
        assert column is not None
        return Block(
            data={
                "task": report.run.tasks[subject],
                "metric": report.run.primary_metric(subject),
                "scale": column.scale,
                "mean_gap": report.scope.left_out.get(subject, ""),
            }
        )


SECTION = AboutTask()
