"""What a candidate is made of."""

import json
from typing import Any

from harness.records import Candidate, LogitMix
from reports.report import Report
from reports.sections import Block


class Recipe:
    page = "candidate"
    order = 10
    title = "Recipe"
    template = "sections/recipe.html"

    def block(self, report: Report, subject: str) -> Block:
        candidate = report.run.recipes.get(subject)
        return Block(data=_described(candidate) if candidate else {"missing": True})


def _described(candidate: Candidate) -> dict[str, Any]:
    recipe = candidate.recipe
    return {
        "missing": False,
        "method": recipe.method,
        "parts": _parts(candidate),
        "source": candidate.source,
        "linked": candidate.source.startswith(("https://", "http://")),
        "json": json.dumps(recipe.model_dump(mode="json"), indent=2, ensure_ascii=False),
    }


def _parts(candidate: Candidate) -> list[tuple[str, str]]:
    recipe = candidate.recipe
    if isinstance(recipe, LogitMix):
        return [
            ("Logits", f"base + {recipe.alpha:g} × (expert − antiexpert), at every token"),
            ("Base", recipe.base),
            ("Expert", recipe.expert),
            ("Antiexpert", recipe.antiexpert),
        ]
    options = [(name.replace("_", " "), _plain(value)) for name, value in recipe.options.items()]
    return [("Inputs", ", ".join(recipe.inputs)), *options]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


SECTION = Recipe()
