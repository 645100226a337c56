"""YAML files read into records, with errors that name file, key and what is allowed."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from harness.errors import HarnessError

R = TypeVar("R", bound=BaseModel)


def read_mapping(path: Path) -> dict[str, Any]:
    """The file's top-level mapping.

    Raises:
        HarnessError: the file is missing, is not YAML, or holds something else.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise HarnessError(f"{path}{where}: not valid YAML; check indentation and quotes") from None
    if not isinstance(content, dict):
        raise HarnessError(f"{path}: expected keys and values at the top level")
    return content


def validate(kind: type[R], fields: dict[str, Any], where: str) -> R:
    """The record, or one line that names the first wrong key and what is allowed there.

    Raises:
        HarnessError: a key is unknown or missing, or a value has the wrong type.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise HarnessError(f"{where}: {_explain(error, kind)}") from None


def _explain(error: ValidationError, kind: type[BaseModel]) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    match first["type"]:
        case "extra_forbidden":
            return f"unknown key {key!r}; allowed: {', '.join(kind.model_fields)}"
        case "missing":
            return f"key {key!r} is missing"
        case _:
            return f"{key}: {first['msg'].lower()}, got {first['input']!r}"
