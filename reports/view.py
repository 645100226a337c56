"""What every section sees: the run, and the tables and names derived from it once."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from melange.reports.analysis.bases import references
from melange.reports.analysis.board import Scope, Standing, scope_of_means, standings
from melange.reports.analysis.comparison import Comparison, compare
from melange.reports.analysis.evidence import Evidence
from melange.reports.analysis.example_scores import Scores
from melange.reports.analysis.progress import Progress, progress_of
from melange.reports.analysis.run import Run
from melange.reports.analysis.samples.excerpts import Shelf
from melange.reports.tables.board import columns
from melange.reports.tables.board_column import Column

MARKERS = ("circle", "square", "triangle", "diamond", "down", "plus", "cross")
NUM_COLOURS = 7


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
    baseline: Run | None = None
    """An earlier run that this one is compared with."""

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
        return standings(self.run.families, self.scope, self.evidence)

    @cached_property
    def evidence(self) -> Evidence:
        return Evidence(self.run, self.scope.tasks, self.scores)

    @cached_property
    def ranking(self) -> list[str]:
        """Candidates, best first."""
        return [row.candidate for row in self.standings]

    @cached_property
    def columns(self) -> list[Column]:
        return columns(self.run, self.scope, self.evidence, self.standings)

    def column(self, key: str) -> Column | None:
        return self._columns_by_key.get(key)

    @cached_property
    def _columns_by_key(self) -> dict[str, Column]:
        return {column.key: column for column in self.columns}

    @cached_property
    def references(self) -> dict[str, str | None]:
        return references(self.run)

    def scores(self, candidate: str, task: str) -> Scores | None:
        """A cell's scores, read once; None where no samples were kept.

        Raises:
            HarnessError: the file cannot be read, or lacks a column.
        """
        key = (candidate, task)
        if key not in self._scores:
            self._scores[key] = self.run.scores(candidate, task)
        return self._scores[key]

    @cached_property
    def _scores(self) -> dict[tuple[str, str], Scores | None]:
        return {}

    @cached_property
    def samples(self) -> Shelf:
        return Shelf(self.run, tuple(self.ranking))

    @cached_property
    def comparison(self) -> Comparison | None:
        return compare(self.baseline, self.run) if self.baseline else None

    @cached_property
    def progress(self) -> Progress:
        return progress_of(self.run)

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
