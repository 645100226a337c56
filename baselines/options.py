"""What methods' options share: sweeps over values, and candidates' names."""

from collections.abc import Sequence
from typing import Annotated, TypeVar

from pydantic import BeforeValidator

from melange.harness.roles import as_tuple

T = TypeVar("T")


Values = Annotated[tuple[T, ...], BeforeValidator(as_tuple)]
"""Sweep values: one, or a list; each makes a candidate of its own."""


def candidate_name(given: str | None, single: bool, *parts: str, tag: Sequence[str] = ()) -> str:
    """The name that the entry gives, or the parts joined by hyphens.

    If the entry makes several candidates, the parts after the first follow its name, so that names
    differ. `tag` names the group of models, where there are several.
    """
    named = [given] if given and single else [given or parts[0], *parts[1:]]
    return "-".join([*named, *tag])
