"""A task's questions, how they are scored, and whether it counts for the mean."""

from melange.harness.evaluators import EVALUATORS
from melange.harness.records import Task
from melange.reports.page import Block, Section
from melange.reports.view import RunView

FORMS = {
    "generate_until": "the model writes an answer",
    "multiple_choice": "the likeliest choice counts",
    "loglikelihood": "the likelihood of a given text",
}
"""Descriptions of lm-eval's output types."""


def block(view: RunView, subject: str) -> Block:
    column = view.column(f"task-{subject}")
    assert column is not None
    task = view.run.tasks[subject]
    return Block(
        data={
            "task": task,
            "form": form(task) if task else "",
            "metric": view.run.primary_metric(subject),
            "scale": column.scale,
            "mean_gap": view.scope.left_out.get(subject, ""),
        }
    )


def form(task: Task) -> str:
    """What a task scores, in words."""
    if task.output_type:
        return FORMS[task.output_type]
    kind = EVALUATORS.get(task.evaluator)
    return kind.form if kind else f"asked by {task.evaluator}, which this version does not know"


SECTION = Section("About the task", "sections/about_task.html", block)
