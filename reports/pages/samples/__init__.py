"""All samples of a task."""

from collections.abc import Sequence

from melange.reports.page import Page, PageFile, one_each
from melange.reports.pages.samples import browser
from melange.reports.view import RunView


def with_samples(view: RunView) -> Sequence[PageFile]:
    stems = {name: view.task_slugs[name] for name in view.samples.tasks}
    return one_each("samples", stems, "Samples of {subject}")


# Before the pages that show excerpts, so that a task's samples are read once.
PAGE = Page(
    name="samples",
    title="Samples",
    order=100,
    template="samples.html",
    subjects=with_samples,
    sections=(browser.SECTION,),
)
