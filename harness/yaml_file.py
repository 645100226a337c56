"""YAML files read into records, with errors that name file, key and what is allowed."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from melange.harness.errors import HarnessError, unknown

R = TypeVar("R", bound=BaseModel)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads `!function module.name` as text: only lm-eval itself runs it."""


_Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def read_yaml(path: Path) -> dict[str, Any]:
    """One YAML file, which must hold keys and values.

    Raises:
        HarnessError: it cannot be read, or holds something else.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise HarnessError(f"{path} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise HarnessError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except yaml.YAMLError as error:
        raise HarnessError(f"{path} is not YAML: {_where(error)}.") from None
    if not isinstance(content, dict):
        raise HarnessError(f"{path} holds {type(content).__name__}; it must hold `key: value`.")
    return content


def _where(error: yaml.YAMLError) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    return f"line {mark.line + 1}: {problem}" if mark else " ".join(str(error).split())


def read_entry(kind: type[R], content: Any, where: str) -> R:
    """Validate a mapping from a YAML file.

    Raises:
        HarnessError: one line with the file, the key and what is allowed.
    """
    if not isinstance(content, dict):
        raise HarnessError(f"{where}: must hold `key: value`, got {content!r}.")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise HarnessError(f"{where}: {explain(error, kind)}") from None


def explain(error: ValidationError, kind: type[BaseModel]) -> str:
    """A validation error in one line; a misspelt key is reported before a missing one."""
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
        return f"{unknown('key', key, kind.model_fields)}"
    if first["type"] == "missing":
        return f"key {key!r} is missing"
    return f"{key}={first['input']!r}: {first['msg'].lower()}"
