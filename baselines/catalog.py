"""Finds the methods, and expands a suite's entries into candidates."""

import pkgutil
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import ValidationError

from melange.harness.contracts import Method
from melange.harness.errors import HarnessError, unknown
from melange.harness.records import Candidate, Record
from melange.harness.roles import Lacks, Roles

DECLARES_METHOD = re.compile(r"^METHOD\b", re.MULTILINE)


@cache
def methods() -> dict[str, Method]:
    """Every METHOD of the modules below baselines/, by name."""
    found: dict[str, Method] = {}
    for module in method_modules():
        method: Method = import_module(module).METHOD
        assert method.name not in found, f"two methods are called {method.name}"
        found[method.name] = method
    return dict(sorted(found.items()))


def method_modules() -> Iterator[str]:
    """Names of the modules that define METHOD.

    The others are not imported: tensor functions beside a method need torch, planning does not.
    """
    root = Path(__file__).parent
    for info in pkgutil.walk_packages([str(root)], f"{__package__}."):
        parts = info.name.removeprefix(f"{__package__}.").split(".")
        source = root.joinpath(*parts).with_suffix(".py")
        if not info.ispkg and DECLARES_METHOD.search(source.read_text(encoding="utf-8")):
            yield info.name


class Expansion(NamedTuple):
    candidates: list[Candidate]
    lacks: tuple[str, ...]
    """A line for each family that the zoo lacks roles for."""


def expand(entries: Sequence[Mapping[str, Any]], roles: Roles, *, where: str) -> Expansion:
    """The candidates of a suite's entries, on a zoo with these roles.

    `where` is the suite's file; a mergekit recipe may be named relative to its folder.
    A candidate whose roles the zoo lacks is returned too: the plan says what is missing.

    Raises:
        HarnessError: an unknown method, a wrong option, or two candidates with one name.
    """
    found: dict[str, Candidate] = {}
    lacks: dict[str, list[str]] = {}
    for index, entry in enumerate(entries):
        place = f"{where}: candidates[{index}]"
        method, options = read_entry(entry, folder=Path(where).parent, place=place)
        try:
            candidates = list(method.candidates(options, roles))
        except Lacks as lack:
            lacks.setdefault(method.family, []).append(str(lack))
            continue
        except ValidationError as error:
            said = explain(error, method.options)
            raise HarnessError(f"{place} ({method.name}): {said}") from None
        except HarnessError as error:
            raise HarnessError(f"{place} ({method.name}): {error}") from None
        for candidate in candidates:
            if candidate.name in found:
                raise HarnessError(
                    f"{place}: there is already a candidate {candidate.name!r}; "
                    "give one of the two another name, or exclude it."
                )
            found[candidate.name] = candidate
    lines = (f"{family}: {'; '.join(dict.fromkeys(why))}" for family, why in lacks.items())
    return Expansion(list(found.values()), tuple(lines))


def read_entry(entry: Mapping[str, Any], *, folder: Path, place: str) -> tuple[Method, Record]:
    """Its method and options."""
    options = dict(entry)
    if "method" not in options and "mergekit" in options:
        options = {"method": "mergekit", "config": options.pop("mergekit"), **options}
    name = options.pop("method", None)
    if not isinstance(name, str):
        raise HarnessError(
            f"{place}: names no method; write `method: NAME` ({', '.join(methods())}) "
            "or `mergekit: PATH`."
        )
    if name not in methods():
        raise HarnessError(f"{place}: {unknown('method', name, methods())}")
    try:
        method = methods()[name]
        parsed = method.options.model_validate(options, context={"folder": folder})
        return method, parsed
    except ValidationError as error:
        raise HarnessError(f"{place} ({name}): {explain(error, method.options)}") from None
    except HarnessError as error:
        raise HarnessError(f"{place} ({name}): {error}") from None


def explain(error: ValidationError, options: type[Record]) -> str:
    """A validation error in one line; misspelt keys are reported before missing ones."""
    first = min(error.errors(), key=lambda complaint: complaint["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return str(unknown("option", key, option_keys(options, first["loc"])))
    if first["type"] == "missing":
        keys = ", ".join(option_keys(options, first["loc"]))
        return f"option {key!r} is missing; options are {keys}."
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    if not key:
        return f"{message}."
    return f"{key}={first['input']!r}: {message[0].lower()}{message[1:]}."


def option_keys(options: type[Record], loc: Sequence[int | str]) -> list[str]:
    """The keys allowed at an error's location: of the entry, or of a record in a list."""
    prefix = ""
    for part in loc[:-1]:
        if part in options.model_fields:
            inner = get_args(options.model_fields[str(part)].annotation)
            options = next(
                (t for t in inner if isinstance(t, type) and issubclass(t, Record)), options
            )
        prefix += f"{part}."
    return [f"{prefix}{field.alias or key}" for key, field in options.model_fields.items()]
