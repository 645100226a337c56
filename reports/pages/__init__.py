"""A report is made of sections. A module here with an attribute SECTION adds one.

Nothing else is touched: the section names its page and its template below templates/, and returns
data. A page that is neither "index", "candidate" nor "task" becomes a file of its own.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pandas as pd

from melange.reports.view import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What a section has to show."""

    data: Mapping[str, Any]
    """The template's variables."""
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    """File stem -> rows; written as data/<stem>.csv."""


class Section(Protocol):
    page: str
    """"index", "candidate", "task", or the stem of a page of its own."""
    order: int
    title: str
    template: str

    def block(self, report: Report, subject: str) -> Block | None:
        """The section's content, None to leave it out.

        `subject` is the candidate or the task of the page; empty on other pages.
        """


def discover() -> list[Section]:
    """All sections, by page and order."""
    modules = [
        importlib.import_module(info.name)
        for info in pkgutil.walk_packages(__path__, f"{__name__}.")
    ]
    found: list[Section] = [m.SECTION for m in modules if hasattr(m, "SECTION")]
    return sorted(found, key=lambda section: (section.page, section.order, section.title))
