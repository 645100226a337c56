"""Checkpoints of the zoo, unchanged: the references of every combination."""

import math
from collections.abc import Iterator
from fnmatch import fnmatchcase

from pydantic import Field

from melange.baselines.options import Values
from melange.harness.recipes.weights import Weights
from melange.harness.records import Candidate, Record
from melange.harness.roles import Kind, Lacks, Roles


class CheckpointOptions(Record):
    roles: Values[str] = ()
    """Roles or globs; if empty, all roles of `kinds`, the smallest first."""
    kinds: Values[Kind] = ("base", "finetune", "mixture")
    without: Values[str] = Field(default=(), alias="except")


class Checkpoint:
    name = "checkpoint"
    family = "single"
    source = ""
    options = CheckpointOptions

    def candidates(self, options: CheckpointOptions, roles: Roles) -> Iterator[Candidate]:
        for role in selected_roles(options, roles):
            yield Candidate(
                name=role,
                family="moe" if roles.get(role).kind == "mixture" else self.family,
                recipe=Weights(method=self.name, inputs=(role,)),
                summary=f"{role}, as it is",
            )


def selected_roles(options: CheckpointOptions, roles: Roles) -> list[str]:
    """Each role once, in the entry's order; a role written out is kept even if the zoo lacks it.

    Raises:
        Lacks: no role is of these kinds.
    """
    found: dict[str, None] = {}
    if not options.roles:
        chosen = [one for one in roles if one.kind in options.kinds]
        by_size = sorted(chosen, key=lambda one: one.num_parameters or math.inf)
        found = dict.fromkeys(one.name for one in by_size)
        if not found:
            raise Lacks(f"no role that is a {' or a '.join(options.kinds)}")
    for pattern in options.roles:
        is_glob = any(mark in pattern for mark in "*?[")
        matches = (
            [role for role in roles.names if fnmatchcase(role, pattern)] if is_glob else [pattern]
        )
        found.update(dict.fromkeys(matches))
    return [role for role in found if not any(fnmatchcase(role, no) for no in options.without)]


METHOD = Checkpoint()
