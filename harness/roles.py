"""Roles of a zoo and how they are related: what methods select by. Names are the user's."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from melange.harness.errors import HarnessError
from melange.harness.recipe import Record

Kind = Literal["base", "finetune", "step", "adapter", "mixture", "reward"]
Grouping = Literal["all", "each", "pair", "leave_one_out"]
LARGEST = "largest"


def as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


class Role(Record):
    """What a zoo says of a checkpoint."""

    name: str
    kind: Kind = "base"
    of: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    """What it was made from: a fine-tune's base, a step's run, an adapter's base."""
    label: str = ""
    """How candidates' names call it; its domain or its name, if empty."""
    domains: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    """What it was tuned for. A fine-tune for one domain is a specialist."""
    prompts: tuple[str, ...] = ()
    """Example texts of what it was tuned for."""
    step: int = Field(default=0, ge=0)
    """The training step of its run at which it was saved."""
    vocabulary: str | None = None
    """The tokenizer's fingerprint; None while it is unknown."""
    num_parameters: int | None = None

    @property
    def parent(self) -> str:
        return self.of[0] if self.of else ""

    @property
    def called(self) -> str:
        return self.label or (self.domains[0] if len(self.domains) == 1 else self.name)


class Lacks(HarnessError):
    """What a zoo lacks for a method."""


class Roles(Sequence[Role]):
    """A zoo's roles, in its order. Invalid relations are listed in `problems`, and dropped."""

    def __init__(self, roles: Iterable[Role]) -> None:
        given = {role.name: role for role in roles}
        self.problems = tuple(problem for one in given.values() if (problem := _wrong(one, given)))
        self._roles = {
            name: one.model_copy(update={"of": ()}) if _wrong(one, given) else one
            for name, one in given.items()
        }

    @classmethod
    def named(cls, names: Iterable[str]) -> "Roles":
        """Roles of which only the names are known; `run@100` is step 100 of `run`."""
        return cls(named_role(name) for name in names)

    def __getitem__(self, at):  # type: ignore[no-untyped-def]
        return list(self._roles.values())[at]

    def __len__(self) -> int:
        return len(self._roles)

    def get(self, name: str) -> Role:
        """The role; if the zoo has none of this name, one with nothing but the name."""
        return self._roles.get(name) or Role(name=name)

    def origin(self, name: str) -> str:
        """The root of its line of parents; empty if the zoo has no such role."""
        if name not in self._roles:
            return ""
        parent = self._roles[name].parent
        return self.origin(parent) or name

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._roles)

    def made_of(self, parent: str, kind: Kind) -> list[Role]:
        return [one for one in self if one.parent == parent and one.kind == kind]

    def bases(self, pattern: str = "", *, where: Callable[[Role], object] = bool) -> list[Role]:
        """Bases for which `where` holds: all, those that match the glob, or the largest."""
        names = "" if pattern == LARGEST else pattern
        found = [
            one
            for one in self
            if one.kind == "base" and fnmatchcase(one.name, names or "*") and where(one)
        ]
        if pattern == LARGEST and found:
            return [max(found, key=lambda one: one.num_parameters or 0)]
        return found

    def tuned(self, base: Role) -> list[Role]:
        """Fine-tunes of the base."""
        return self.made_of(base.name, "finetune")

    def specialists(self, base: Role) -> list[Role]:
        """Fine-tunes for at most one domain."""
        return [one for one in self.tuned(base) if len(one.domains) <= 1]

    def broadest(self, base: Role) -> list[Role]:
        """Fine-tunes, the one for the most domains first."""
        return sorted(self.tuned(base), key=lambda one: -len(one.domains))

    def smaller(self, base: Role) -> list[Role]:
        """Bases with fewer parameters and the same vocabulary, as far as that is known."""
        return [
            one
            for one in self.bases()
            if (one.num_parameters or 0) < (base.num_parameters or 0)
            and (one.vocabulary == base.vocabulary or None in (one.vocabulary, base.vocabulary))
        ]

    def steps(self, run: str) -> list[Role]:
        """The run's checkpoints in order of training."""
        return sorted(self.made_of(run, "step"), key=lambda one: one.step)

    def runs(self, at_least: int) -> list[str]:
        """Runs with at least so many checkpoints."""
        runs = dict.fromkeys(one.parent for one in self if one.kind == "step")
        return [run for run in runs if run and len(self.steps(run)) >= at_least]

    def alike(self, expert: Role, base: str) -> str:
        """The base's fine-tune for the same domains; empty if there is none."""
        tuned = self.made_of(base, "finetune")
        same = (one.name for one in tuned if set(one.domains) == set(expert.domains))
        return next(same, "") if expert.domains else ""


def named_role(name: str) -> Role:
    run, at, step = name.rpartition("@")
    if at and step.isdecimal():
        return Role(name=name, kind="step", of=(run,), step=int(step))
    return Role(name=name)


def groups(roles: Sequence[Role], how: Grouping) -> Iterator[tuple[Role, ...]]:
    """All at once, each alone, every pair, or all but one."""
    sizes = {"all": len(roles), "each": 1, "pair": 2, "leave_one_out": len(roles) - 1}
    return combinations(roles, sizes[how])


def _wrong(role: Role, roles: dict[str, Role]) -> str:
    """Why its relation to its parent is invalid; empty if it is valid."""
    if len(role.of) > 1:
        return f"{role.name}: a {role.kind} of {' and '.join(role.of)}; it can be of one"
    if role.parent and role.parent not in roles and role.kind != "step":
        return f"{role.name}: a {role.kind} of {role.parent}, which the zoo lacks"
    seen = [role.name]
    while (parent := roles.get(role.parent)) is not None:
        if parent.name in seen:
            return f"{seen[0]}: is made from itself ({' of '.join([*seen, parent.name])})"
        seen.append(parent.name)
        role = parent
    return ""
