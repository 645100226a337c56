"""Checkpoints of the zoo as they are: the references that every combination is held against."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from pydantic import Field

from melange.baselines.entries import OneOrMore
from melange.harness.recipes.weights import Weights
from melange.harness.records import Candidate, Record


class CheckpointOptions(Record):
    roles: OneOrMore[str]
    """Roles or globs."""
    without: OneOrMore[str] = Field(default=(), alias="except")


class Checkpoint:
    name = "checkpoint"
    family = "single"
    source = ""
    options = CheckpointOptions

    def candidates(self, options: CheckpointOptions, roles: Sequence[str]) -> Iterator[Candidate]:
        for role in selected_roles(options, roles):
            yield Candidate(
                name=role,
                family="moe" if role.startswith("mixture") else self.family,
                recipe=Weights(method=self.name, inputs=(role,)),
                summary=f"{role}, as it is",
            )


def selected_roles(options: CheckpointOptions, roles: Sequence[str]) -> list[str]:
    """Each role once, in the entry's order; a role written out is kept even if the zoo lacks it."""
    found: dict[str, None] = {}
    for pattern in options.roles:
        is_glob = any(mark in pattern for mark in "*?[")
        matches = [role for role in roles if fnmatchcase(role, pattern)] if is_glob else [pattern]
        found.update(dict.fromkeys(matches))
    return [role for role in found if not any(fnmatchcase(role, no) for no in options.without)]


METHOD = Checkpoint()
