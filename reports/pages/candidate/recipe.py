"""A candidate's recipe."""

import json
from typing import Any

from melange.harness.records import Candidate
from melange.harness.runs.manifest import Described
from melange.reports.page import Block, Section
from melange.reports.tables.engine import computing
from melange.reports.view import RunView


def block(view: RunView, subject: str) -> Block:
    candidate = view.run.recipes.get(subject)
    if candidate is None:
        return Block(data={"missing": True})
    settings = view.run.manifest.engines.get(subject)
    return Block(
        data=_described(candidate, view.run.described[subject])
        | {"computed": settings and computing(settings)}
    )


def _described(candidate: Candidate, said: Described) -> dict[str, Any]:
    recipe = candidate.recipe
    return {
        "missing": False,
        "method": recipe.method,
        "parts": said.parts,
        "source": candidate.source,
        "linked": candidate.source.startswith(("https://", "http://")),
        "json": json.dumps(recipe.model_dump(mode="json"), indent=2, ensure_ascii=False),
    }


SECTION = Section("Recipe", "sections/recipe.html", block)
