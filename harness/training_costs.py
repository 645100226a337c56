"""What training a candidate's inputs took, beyond its base."""

from collections.abc import Callable, Iterable

from melange.harness.records import Candidate
from melange.harness.roles import Roles

TrainingSec = Callable[[str], float | None]
"""Seconds of training a role, without what it was made from; None if nobody recorded them."""


def beyond_base(candidate: Candidate, roles: Roles, training_sec: TrainingSec) -> float | str:
    """Seconds of training everything that the candidate is made of except its base, once each; or
    which of it nobody recorded.

    A proxy's experts count, with the small base that they were tuned from; a fine-tune counts as
    itself. Steps of a run were saved on its way and cost no more than the run.
    """
    base = candidate.recipe.describe().base or candidate.recipe.inputs[0]
    root = roles.origin(base) or base
    beyond = [one for one in _made_of(candidate.recipe.inputs, roles) if one != root]
    found = {one: training_sec(one) for one in beyond}
    unknown = [one for one, seconds in found.items() if seconds is None]
    if unknown:
        return f"not known: the zoo does not record what training {', '.join(unknown)} took"
    return float(sum(seconds for seconds in found.values() if seconds is not None))


def _made_of(names: Iterable[str], roles: Roles) -> list[str]:
    """What was trained for these roles: runs for their steps, parents before what they became."""
    found: dict[str, None] = {}
    for name in names:
        role = roles.get(name)
        found |= dict.fromkeys(_made_of(role.of, roles))
        if role.kind != "step":
            found[name] = None
    return list(found)
