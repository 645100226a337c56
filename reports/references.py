"""Which plain checkpoint a candidate started from."""

from melange.harness.records import LogitMix
from melange.reports.load import Run


def references(run: Run) -> dict[str, str | None]:
    """Candidate -> the plain base checkpoint it started from, where the run measured that one.

    A logit mix starts from its base; a checkpoint of role `small_math` from `small_base`; a
    merge from the base that its options or its inputs name.
    """
    plain = plain_checkpoints(run)
    found: dict[str, str | None] = {}
    for name in run.families:
        role = _base_role(run, name)
        base = plain.get(role) if role else None
        found[name] = base if base != name else None
    return found


def plain_checkpoints(run: Run) -> dict[str, str]:
    """Role -> the candidate that is this checkpoint and nothing more."""
    return {
        c.recipe.inputs[0]: c.name
        for c in run.manifest.candidates
        if c.recipe.kind == "weights" and len(c.recipe.inputs) == 1 and not c.recipe.options
    }


def _base_role(run: Run, name: str) -> str | None:
    candidate = run.recipes.get(name)
    if candidate is None:
        return None
    recipe = candidate.recipe
    if isinstance(recipe, LogitMix):
        return recipe.base
    named = [recipe.options.get(key) for key in ("base", "base_model")]
    inputs = [role for role in recipe.inputs if role.split("@")[0].endswith("_base")]
    size = recipe.inputs[0].partition("_")[0] if recipe.inputs else ""
    options = [role for role in named if isinstance(role, str)]
    return [*options, *inputs, f"{size}_base"][0].split("@")[0]
