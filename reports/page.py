"""What a page is: sections in order, and of each what it shows and the tables behind it."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from melange.reports.units import Scale


class Column(NamedTuple):
    """Of a table: its CSV, its Markdown and, where a page shows it as it is, its HTML."""

    name: str
    """Heads the column in files; a reading's parts follow as `<name>_ci_low` and so on."""
    value: Callable[[Any], Any]
    """Of a row: a text, a number, a `Reading` or None, in the units of storage."""
    label: str = ""
    """Heads the column on a page; empty to leave it out there."""
    scale: Scale | None = None
    """In which a page writes its numbers; None: it holds texts."""
    hint: str = ""
    """What the column holds, for those who point at its head."""


@dataclass(frozen=True, slots=True)
class Table:
    columns: Sequence[Column]
    rows: Sequence[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What a section has to show."""

    data: Mapping[str, Any] = field(default_factory=dict)
    """The template's variables."""
    tables: Mapping[str, Table] = field(default_factory=dict)
    """By the stem of the file that each is written to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFile:
    subject: str = ""
    """The candidate, for example, that it is of; empty where a page has one file."""
    path: str
    """Relative to the folder that is rendered to."""
    title: str

    @property
    def root(self) -> str:
        """From this file to the folder that is rendered to."""
        return "../" * self.path.count("/")


class View(Protocol):
    """A run, or several, with what is derived from them once."""

    @property
    def kind(self) -> str:
        """`Page.of` of its pages."""

    @property
    def folder(self) -> str:
        """Of its pages, below the folder that is rendered to: empty, or ending in `/`."""

    def table_files(self, stem: str, table: Table) -> Mapping[str, str]:
        """Path below the folder that is rendered to -> text."""

    def variables(self, page: PageFile) -> Mapping[str, Any]:
        """What every template of the page may use beside its block's data."""


class Section(NamedTuple):
    title: str
    template: str
    """Below templates/."""
    block: Callable[[Any, str], Block | None]
    """Of the view and the page's subject: what it shows, None to leave it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A kind of page. A module or package in pages/ that has `PAGE` adds one.

    A file of it is left out where no section has anything to show.
    """

    name: str
    """Unique among the pages of a view; the stem of its file, where it has one."""
    title: str
    sections: Sequence[Section]
    order: int
    """In the navigation, and in which pages are written."""
    of: str = "run"
    """The view's kind: "run", "series" of runs, or "history", which has several series."""
    subjects: Callable[[Any], Sequence[PageFile]] | None = None
    """Of the view: its files, where it has one for each candidate, for example."""
    template: str = "page.html"
    """Below templates/: what stands around the sections."""

    def files(self, view: View) -> Sequence[PageFile]:
        if self.subjects is not None:
            return self.subjects(view)
        return [PageFile(path=f"{view.folder}{self.name}.html", title=self.title)]


def one_each(folder: str, stems: Mapping[str, str], title: str = "{subject}") -> Sequence[PageFile]:
    """A file for each subject, of which `stems` has the file's stem."""
    return [
        PageFile(subject=name, path=f"{folder}/{stem}.html", title=title.format(subject=name))
        for name, stem in stems.items()
    ]


def slugs(names: Iterable[str]) -> dict[str, str]:
    """Name -> a file name that is safe everywhere and unique in this set."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
        stem = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:80] or "unnamed"
        slug, count = stem, 2
        while slug in taken:
            slug, count = f"{stem}-{count}", count + 1
        taken.add(slug)
        found[name] = slug
    return found
