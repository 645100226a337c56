"""Selects the models that an entry combines: named ones, or those with a relation."""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Literal, NamedTuple, get_args

from pydantic import BeforeValidator

from melange.baselines.options import Values
from melange.harness.errors import HarnessError
from melange.harness.records import Record
from melange.harness.roles import Grouping, Lacks, Role, Roles, as_tuple, groups

Which = Literal["specialists", "tuned", "broadest"]
"""Of a base's fine-tunes: those for at most one domain, all, or the one for the most domains."""


def word_or_names(words: Sequence[str]) -> BeforeValidator:
    """One of the words as it is; anything else is a name, or a list of names."""
    return BeforeValidator(lambda value: value if value in words else as_tuple(value))


Models = Annotated[Which | tuple[str, ...], word_or_names(get_args(Which))]
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
    """The role that they were tuned from; empty if nobody says."""
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
        HarnessError: too few models are named, or a group would have too few.
    """
    if options.groups == "each" and at_least > 1:
        raise HarnessError(f"groups: each makes groups of one; this needs {at_least} models")
    # All but one must still be enough.
    needed = at_least + 1 if options.groups == "leave_one_out" else at_least
    if isinstance(options.models, str):
        found = _by_base(options, roles, at_least=needed)
    else:
        found = [_named(options, roles, at_least=needed)]
    several = len(found) > 1
    return [
        Group(base, models, (*((base,) if several else ()), *tag))
        for base, tuned in found
        for models, tag in _grouped(tuned, options.groups)
    ]


def _named(options: SelectionOptions, roles: Roles, *, at_least: int) -> tuple[str, list[Role]]:
    """The base is the entry's, or what the first model was made from."""
    models = [roles.get(name) for name in options.models]
    if len(models) < at_least:
        raise HarnessError(f"models: names {len(models)}; name at least {at_least}")
    known = options.base in roles.names
    return options.base if known else models[0].parent or options.base, models


def _by_base(
    options: SelectionOptions, roles: Roles, *, at_least: int
) -> list[tuple[str, list[Role]]]:
    select = SELECT[options.models]  # type: ignore[index]

    def models(base: Role) -> list[Role]:
        return of_domains(select(roles, base), options.domains)

    bases = roles.bases(options.base, where=lambda base: len(models(base)) >= at_least)
    if not bases:
        number = "a fine-tune" if at_least == 1 else f"{at_least} fine-tunes"
        what = f" for {' or '.join(options.domains)}" if options.domains else ""
        raise Lacks(f"no base{_called(options.base)} with {number}{what}")
    return [(base.name, models(base)) for base in bases]


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
