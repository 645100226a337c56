"""Finds candidates that form a curve: a recipe at several coefficients, an average along a run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from melange.harness.records import Candidate
from melange.harness.roles import named_role
from melange.reports.analysis.bases import plain_checkpoints
from melange.reports.analysis.goals import goal_role
from melange.reports.analysis.run import Run

NOT_COEFFICIENTS = {"seed"}
Path = tuple[str | int, ...]
"""Keys and indices from a recipe's root to a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Candidates sorted by the one number in which they differ."""

    title: str
    x_label: str
    points: tuple[tuple[float, str], ...]
    """(x, candidate)"""
    levels: tuple[str, ...]
    """Candidates to compare with: the starting point, and the goal."""


def sweeps(run: Run) -> list[Series]:
    """Measured candidates whose recipes differ only in coefficients."""
    groups: dict[str, list[Candidate]] = {}
    for candidate in run.recipes.values():
        groups.setdefault(_without_numbers(candidate), []).append(candidate)
    found = (_sweep(run, group) for group in groups.values() if len(group) > 1)
    return [series for series in found if series is not None]


def _sweep(run: Run, group: list[Candidate]) -> Series | None:
    numbers = {one.name: dict(_numbers(one.recipe.model_dump(mode="json"))) for one in group}
    paths = list(next(iter(numbers.values())))
    varying = [path for path in paths if len({abs(each[path]) for each in numbers.values()}) > 1]
    # An expert's coefficient is the negative of its antiexpert's: the last one is enough.
    points = sorted((abs(each[varying[-1]]), name) for name, each in numbers.items()) if varying \
        else []  # fmt: skip
    if len({x for x, _ in points}) < 2:
        return None
    label = next(str(key) for key in reversed(varying[-1]) if isinstance(key, str))
    return Series(
        title=group[0].recipe.describe().title,
        x_label="α" if label == "coefficient" else label.replace("_", " "),
        points=tuple(points),
        levels=tuple(_levels(run, group[0])),
    )


def _without_numbers(candidate: Candidate) -> str:
    """Equal for recipes that differ only in coefficients."""
    recipe = candidate.recipe.model_dump(mode="json")
    for path, _ in list(_numbers(recipe)):
        *way, last = path
        place: Any = recipe
        for key in way:
            place = place[key]
        place[last] = "a number"
    return repr(recipe)


def _numbers(value: Any, path: Path = ()) -> Iterator[tuple[Path, float]]:
    """Every coefficient in plain data, in order."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers(inner, (*path, key))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _numbers(inner, (*path, at))
    elif _is_coefficient(value) and path[-1] not in NOT_COEFFICIENTS:
        yield path, float(value)


def _is_coefficient(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _levels(run: Run, candidate: Candidate) -> Iterator[str]:
    """The base, and the base tuned on the expert's domain."""
    said = candidate.recipe.describe()
    if not said.experts:
        return
    plain = plain_checkpoints(run)
    levels = (said.base, goal_role(candidate))
    yield from dict.fromkeys(plain[role] for role in levels if role in plain)


def trajectories(run: Run) -> list[Series]:
    """Checkpoints, and averages over checkpoints, along one training run."""
    groups: dict[tuple[str, str, str], list[tuple[float, str]]] = {}
    known = {role.name: role for role in run.manifest.roles}
    for one in run.recipes.values():
        roles = [known.get(name) or named_role(name) for name in one.recipe.inputs]
        runs = {role.parent if role.kind == "step" else "" for role in roles}
        if len(runs) == 1 and (trained := runs.pop()):
            key = (trained, one.recipe.method, repr(getattr(one.recipe, "options", "")))
            groups.setdefault(key, []).append((float(max(role.step for role in roles)), one.name))
    plain = plain_checkpoints(run)
    return [
        Series(
            title=f"{method} along {trained}",
            x_label="training step",
            points=tuple(sorted(points)),
            levels=(plain[trained],) if trained in plain else (),
        )
        for (trained, method, _), points in groups.items()
        if len({x for x, _ in points}) > 1
    ]
