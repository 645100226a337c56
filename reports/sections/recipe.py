"""What a candidate is made of."""

import json
from typing import Any

from melange.harness.records import Candidate, LogitMix, Member
from melange.reports.manifest import computing
from melange.reports.report import Report
from melange.reports.sections import Block


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
        return Block(data=_described(candidate) | {"computed": settings and computing(settings)})


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
        combined = {"logits": "sum of logits", "probabilities": "mean of probabilities"}
        members = [(f"{one.coefficient:+g} ×", _member(one)) for one in recipe.members]
        return [("At every token", combined[recipe.combine]), *members]
    options = [(name.replace("_", " "), _plain(value)) for name, value in recipe.options.items()]
    return [("Inputs", ", ".join(recipe.inputs)), *options]


def _member(member: Member) -> str:
    adapter = f" with the adapter {member.adapter}" if member.adapter else ""
    prompt = ", prompts in its own chat template" if member.own_prompt else ""
    return f"{member.role}{adapter}{prompt}"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


SECTION = Recipe()
