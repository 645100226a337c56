"""What every section sees: the run, and the tables and names derived from it once."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from harness.records import Sample
from reports.board import Column, Scope, Standing, columns, scope_of_means, standings
from reports.load import Run
from reports.references import references

MARKERS = ("circle", "square", "triangle", "diamond", "down", "plus", "cross")
NUM_COLOURS = 7
SAMPLES_READ = 20
"""Samples of a cell that pages draw on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a family is drawn, the same on every page: colour and shape say the same thing."""

    family: str
    colour: int
    """Index of the stylesheet's --family-N."""
    marker: str


@dataclass(frozen=True)
class Report:
    run: Run

    @cached_property
    def looks(self) -> dict[str, Look]:
        families = dict.fromkeys(self.run.families.values())
        # Past seven families the shapes shift against the colours, so that pairs stay unique.
        return {
            family: Look(
                family=family,
                colour=i % NUM_COLOURS,
                marker=MARKERS[(i + i // NUM_COLOURS) % len(MARKERS)],
            )
            for i, family in enumerate(families)
        }

    def look(self, candidate: str) -> Look:
        return self.looks[self.run.families[candidate]]

    @cached_property
    def candidate_slugs(self) -> dict[str, str]:
        return slugs(self.run.families)

    @cached_property
    def task_slugs(self) -> dict[str, str]:
        return slugs(self.run.tasks)

    @cached_property
    def scope(self) -> Scope:
        return scope_of_means(self.run)

    @cached_property
    def standings(self) -> list[Standing]:
        return standings(self.run, self.scope)

    @cached_property
    def ranking(self) -> list[str]:
        """Candidates, best first."""
        return [row.candidate for row in self.standings]

    @cached_property
    def columns(self) -> list[Column]:
        return columns(self.run, self.scope, self.standings)

    def column(self, key: str) -> Column | None:
        return next((c for c in self.columns if c.key == key), None)

    @cached_property
    def references(self) -> dict[str, str | None]:
        return references(self.run)

    @cached_property
    def _samples(self) -> dict[tuple[str, str], list[Sample] | None]:
        return {}

    def samples(self, candidate: str, task: str) -> list[Sample] | None:
        """The first samples of a cell, read once; None where none were kept."""
        key = (candidate, task)
        if key not in self._samples:
            self._samples[key] = self.run.samples(candidate, task, limit=SAMPLES_READ)
        return self._samples[key]

    @property
    def title(self) -> str:
        suite = self.run.manifest.suite
        return (suite.title or suite.name) if suite else self.run.folder.name


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
