"""What a candidate is made of."""

import json
from typing import Any

from melange.harness.records import Candidate
from melange.harness.runs.manifest import Described
from melange.reports.pages import Block
from melange.reports.tables.engine import computing
from melange.reports.view import Report


class Recipe:
    page = "candidate"
    order = 10
    title = "Recipe"
    template = "sections/recipe.html"

    def block(self, report: Report, subject: str) -> Block:
        candidate = report.run.recipes.get(subject)
        if candidate is None:
            return Block(data={"missing": True})
        settings = report.run.manifest.engines.get(subject)
        return Block(
            data=_described(candidate, report.run.described[subject])
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


SECTION = Recipe()
