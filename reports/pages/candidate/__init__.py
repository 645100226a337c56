"""A candidate's page: its recipe, scores and costs."""

from melange.reports.page import Page, one_each
from melange.reports.pages.candidate import (
    checked_examples,
    costs,
    problems,
    profile,
    recipe,
    samples,
    scores,
)

PAGE = Page(
    name="candidate",
    title="Candidate",
    order=110,
    template="candidate.html",
    subjects=lambda view: one_each("candidates", view.candidate_slugs),
    sections=(
        recipe.SECTION,
        profile.SECTION,
        scores.SECTION,
        costs.SECTION,
        problems.SECTION,
        checked_examples.SECTION,
        samples.SECTION,
    ),
)
