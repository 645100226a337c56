"""What the options of a suite's candidate entries share."""

from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator

T = TypeVar("T")


def as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


OneOrMore = Annotated[tuple[T, ...], BeforeValidator(as_tuple)]
"""A value or a list of them: one candidate each."""


def candidate_name(given: str | None, single: bool, *parts: str) -> str:
    """The name that the entry gives, or one from its parts.

    An entry with several candidates keeps the parts behind its name, so that they differ.
    """
    if given and single:
        return given
    return "-".join([given or parts[0], *parts[1:]])
