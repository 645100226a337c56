"""Recipes as templates: `$base` and its fine-tunes stand where a recipe would name models.

    merge_method: ties
    base_model: $base
    models:
      - model: $each          # once for each of the selected fine-tunes
        parameters: {weight: 1.0, density: 0.2}

`$first` and `$second` are the first two of them.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from melange.baselines.selection import Group, SelectionOptions, selected
from melange.harness.errors import HarnessError, unknown
from melange.harness.roles import Roles

BASE, EACH, FIRST, SECOND = "$base", "$each", "$first", "$second"
PLACEHOLDERS = (BASE, EACH, FIRST, SECOND)


def filled(
    config: dict[str, Any], options: SelectionOptions, roles: Roles
) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    """The recipe for every group of models that the options select, and the group's tag.

    Raises:
        Lacks: no base has as many fine-tunes.
        HarnessError: a placeholder is unknown, or the named models have no known base.
    """
    used = set(_placeholders(config))
    for name in used - set(PLACEHOLDERS):
        raise unknown("placeholder", name, PLACEHOLDERS)
    if not used:
        yield config, ()
        return
    for group in selected(options, roles, at_least=2):
        if BASE in used and not group.base:
            raise HarnessError(f"the recipe needs {BASE}; give base: ROLE beside the models")
        yield _fill(config, group), group.tag


def _placeholders(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _placeholders(inner)
    elif isinstance(value, str) and value.startswith("$"):
        yield value


def _fill(config: dict[str, Any], group: Group) -> dict[str, Any]:
    first, second = group.names[:2]
    names = {BASE: group.base, FIRST: first, SECOND: second}
    found: dict[str, Any] = _replaced(config, names, group.names)
    return found


def _replaced(value: Any, names: Mapping[str, str], each: tuple[str, ...]) -> Any:
    if isinstance(value, Mapping):
        return {key: _replaced(inner, names, each) for key, inner in value.items()}
    if not isinstance(value, list):
        return names.get(value, value) if isinstance(value, str) else value
    found = []
    for item in value:
        repeated = EACH in _placeholders(item)
        for name in each if repeated else ("",):
            found.append(_replaced(item, {**names, EACH: name} if repeated else names, each))
    return found
