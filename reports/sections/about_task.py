"""What a task asks, how it is scored, and whether it counts for the mean."""

from melange.harness.evaluators import EVALUATORS
from melange.harness.records import Task
from melange.reports.report import Report
from melange.reports.sections import Block

FORMS = {
    "generate_until": "the model writes an answer",
    "multiple_choice": "the likeliest choice counts",
    "loglikelihood": "the likelihood of a given text",
}
"""Of lm-eval's tasks, by their output type."""


class AboutTask:
    page = "task"
    order = 5
    title = "About the task"
    template = "sections/about_task.html"

    def block(self, report: Report, subject: str) -> Block:
        column = report.column(f"task-{subject}")
        assert column is not None
        task = report.run.tasks[subject]
        return Block(
            data={
                "task": task,
                "form": form(task) if task else "",
                "metric": report.run.primary_metric(subject),
                "scale": column.scale,
                "mean_gap": report.scope.left_out.get(subject, ""),
            }
        )


def form(task: Task) -> str:
    """What is looked at."""
    if task.output_type:
        return FORMS[task.output_type]
    kind = EVALUATORS.get(task.evaluator)
    return kind.form if kind else f"asked by {task.evaluator}, which this version does not know"


SECTION = AboutTask()
