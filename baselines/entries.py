"""What the options of a suite's candidate entries share."""

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator

T = TypeVar("T")


def as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


OneOrMore = Annotated[tuple[T, ...], BeforeValidator(as_tuple)]
"""A value or a list of them: one candidate each."""


def candidate_name(given: str | None, single: bool, *parts: str, tag: Sequence[str] = ()) -> str:
    """The name that the entry gives, or one from its parts.

    An entry with several candidates keeps the parts behind its name, so that they differ. `tag`
    tells apart those of several groups of models.
    """
    named = [given] if given and single else [given or parts[0], *parts[1:]]
    return "-".join([*named, *tag])
