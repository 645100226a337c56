"""The data of a run's pages: the run, and what is derived from it once."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from melange.reports.analysis.bases import bases
from melange.reports.analysis.board import Scope, Standing, scope_of_means, standings
from melange.reports.analysis.comparison import Comparison, compare
from melange.reports.analysis.comparison.waivers import Waiver
from melange.reports.analysis.evidence import Evidence
from melange.reports.analysis.example_scores import Scores
from melange.reports.analysis.progress import Progress, progress_of
from melange.reports.analysis.run import Run
from melange.reports.analysis.samples.excerpts import SampleReader
from melange.reports.analysis.tails import Tails
from melange.reports.page import PageFile, Table, slugs
from melange.reports.styles import FamilyStyle, family_styles
from melange.reports.tables.board import columns
from melange.reports.tables.board_column import BoardColumn
from melange.reports.tables.files import to_csv, to_markdown


@dataclass(frozen=True)
class RunView:
    run: Run
    baseline: Run | None = None
    """An earlier run to compare with."""
    waivers: tuple[Waiver, ...] = ()
    """For cells of the baseline that need not be judged."""

    kind = "run"
    folder = ""

    @cached_property
    def styles(self) -> dict[str, FamilyStyle]:
        return family_styles(self.run.families.values())

    def style(self, candidate: str) -> FamilyStyle:
        return self.styles[self.run.families[candidate]]

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
    def columns(self) -> list[BoardColumn]:
        return columns(self.run, self.scope, self.evidence, self.standings)

    def column(self, key: str) -> BoardColumn | None:
        return self._columns_by_key.get(key)

    @cached_property
    def _columns_by_key(self) -> dict[str, BoardColumn]:
        return {column.key: column for column in self.columns}

    @cached_property
    def tails(self) -> Tails:
        return Tails(self.run)

    @cached_property
    def bases(self) -> dict[str, str | None]:
        return bases(self.run)

    def scores(self, candidate: str, task: str) -> Scores | None:
        """A cell's scores, read once; None if no samples were stored.

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
    def samples(self) -> SampleReader:
        return SampleReader(self.run, tuple(self.ranking))

    @cached_property
    def comparison(self) -> Comparison | None:
        return compare(self.baseline, self.run, self.waivers) if self.baseline else None

    @cached_property
    def progress(self) -> Progress:
        return progress_of(self.run)

    @property
    def title(self) -> str:
        suite = self.run.manifest.suite
        return (suite.title or suite.name) if suite else self.run.folder.name

    def table_files(self, stem: str, table: Table) -> Mapping[str, str]:
        return {f"data/{stem}.csv": to_csv(table), f"data/{stem}.md": to_markdown(table)}

    def variables(self, page: PageFile) -> Mapping[str, Any]:
        """Addresses of the run's other pages."""
        root = page.root
        return {
            "candidate_href": lambda name: f"{root}candidates/{self.candidate_slugs[name]}.html",
            "task_href": lambda name: f"{root}tasks/{self.task_slugs[name]}.html",
            "samples_href": partial(self._samples_href, root),
        }

    def _samples_href(
        self, root: str, task: str, *, example: int | None = None, a: str = "", show: str = ""
    ) -> str:
        """Address of the task's page of samples; the fragment selects an example or filters."""
        given = {"a": self.candidate_slugs[a] if a else "", "show": show}
        parts = [f"example-{example}"] if example is not None else []
        parts += [f"{key}={value}" for key, value in given.items() if value]
        fragment = f"#{'&'.join(parts)}" if parts else ""
        return f"{root}samples/{self.task_slugs[task]}.html{fragment}"
