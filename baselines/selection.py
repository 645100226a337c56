"""Selects the models that an entry combines: named ones, or those with a relation."""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator

from melange.baselines.options import Values
from melange.harness.records import Record
from melange.harness.roles import Grouping, Lacks, Role, Roles, as_tuple, groups

Which = Literal["specialists", "tuned", "broadest"]
"""Of a base's fine-tunes: those for at most one domain, all, or the one for the most domains."""


def _named(value: object) -> object:
    """A word of `Which`, or names."""
    return value if value in ("specialists", "tuned", "broadest") else as_tuple(value)


Models = Annotated[Which | tuple[str, ...], BeforeValidator(_named)]
SELECT: dict[Which, Callable[[Roles, Role], list[Role]]] = {
    "specialists": Roles.specialists,
    "tuned": Roles.tuned,
    "broadest": lambda roles, base: roles.broadest(base)[:1],
}


class SelectionOptions(Record):
    models: Models = "specialists"
    """Roles, or which of a base's fine-tunes."""
    base: str = ""
    """A name, a glob, or `largest`; if empty, every base with such fine-tunes."""
    domains: Values[str] = ()
    """Only fine-tunes for one of these domains."""
    groups: Grouping = "all"
    name: str | None = None


class Group(NamedTuple):
    """Models to combine."""

    base: str
    """The role that they were tuned from; empty for named models."""
    models: tuple[Role, ...]
    tag: tuple[str, ...]
    """Distinguishes the entry's groups in candidates' names; empty for a single group."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.models)


def selected(options: SelectionOptions, roles: Roles, *, at_least: int) -> list[Group]:
    """Every group that the options ask for.

    Raises:
        Lacks: no base has so many such fine-tunes.
    """
    if not isinstance(options.models, str):
        return [Group(options.base, tuple(map(roles.get, options.models)), ())]
    found = _by_base(options, roles, at_least=at_least)
    several = len(found) > 1
    return [
        Group(base.name, models, (*((base.name,) if several else ()), *tag))
        for base, tuned in found
        for models, tag in _grouped(tuned, options.groups)
    ]


def _by_base(
    options: SelectionOptions, roles: Roles, *, at_least: int
) -> list[tuple[Role, list[Role]]]:
    select = SELECT[options.models]  # type: ignore[index]

    def models(base: Role) -> list[Role]:
        return of_domains(select(roles, base), options.domains)

    bases = roles.bases(options.base, where=lambda base: len(models(base)) >= at_least)
    if not bases:
        number = "a fine-tune" if at_least == 1 else f"{at_least} fine-tunes"
        what = f" for {' or '.join(options.domains)}" if options.domains else ""
        raise Lacks(f"no base{_called(options.base)} with {number}{what}")
    return [(base, models(base)) for base in bases]


def of_domains(tuned: Sequence[Role], domains: Sequence[str]) -> list[Role]:
    return [one for one in tuned if not domains or set(one.domains) & set(domains)]


def _grouped(
    models: Sequence[Role], how: Grouping
) -> Iterator[tuple[tuple[Role, ...], tuple[str, ...]]]:
    found = list(groups(models, how))
    for chosen in found:
        yield chosen, (_tag(models, chosen, how),) if len(found) > 1 else ()


def _tag(models: Sequence[Role], chosen: Sequence[Role], how: Grouping) -> str:
    if how == "leave_one_out":
        return "without-" + "+".join(one.called for one in models if one not in chosen)
    return "+".join(one.called for one in chosen)


def _called(pattern: str) -> str:
    return "" if pattern in ("", "largest") else f" called {pattern}"
