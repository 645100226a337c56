"""How much of a run is done, in a sentence, for pages rendered before the run's end."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from melange.reports.analysis.run import Run
from melange.reports.units import grouped


class Share(NamedTuple):
    """How many of a family's candidates have ended all their tasks."""

    through: int
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Without cells that the plan refused."""

    measured: int
    failed: int
    cells: int
    going_on: bool
    families: Mapping[str, Share]

    @property
    def complete(self) -> bool:
        return self.measured + self.failed == self.cells

    def through(self, family: str) -> Share | None:
        """A family's share; None if all of its candidates are done."""
        share = self.families[family]
        return share if share.through < share.of else None

    @property
    def sentence(self) -> str:
        """Empty once every cell has ended.

        The page is read later than it is made, so the sentence gives the time.
        """
        if self.complete:
            return ""
        failed = f", {grouped(self.failed)} failed" if self.failed else ""
        count = f"{grouped(self.measured)} of {grouped(self.cells)} cells measured{failed}"
        if not self.going_on:
            return f"{count}; the run stopped, and the same command goes on from here."
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
        return f"{count}; the run was going on when this page was made ({now} UTC)."

    @property
    def by_family(self) -> str:
        """Which families have accuracies; empty if it is none."""
        parts = [
            name if one.through == one.of else f"{name} ({one.through} of {one.of})"
            for name, one in self.families.items()
            if one.through
        ]
        lacking = any(one.through < one.of for one in self.families.values())
        return ", ".join(parts) if lacking else ""


def progress_of(run: Run) -> Progress:
    ended = run.planned.keys() - run.waiting
    valued = {(one.candidate, one.task) for one in run.measurements if one.value is not None}
    return Progress(
        measured=len(ended & valued),
        failed=len(ended - valued),
        cells=len(run.planned),
        going_on=run.going_on,
        families=_families(run),
    )


def _families(run: Run) -> dict[str, Share]:
    at_tasks = {candidate for candidate, task in run.waiting if task is not None}
    with_tasks = {candidate for candidate, task in run.planned if task is not None}
    size = Counter(run.families[name] for name in with_tasks)
    through = Counter(run.families[name] for name in with_tasks - at_tasks)
    families = dict.fromkeys(run.families.values())
    return {name: Share(through=through[name], of=size[name]) for name in families}
