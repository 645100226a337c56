"""Declares columns of the leaderboard."""

from collections.abc import Mapping
from dataclasses import dataclass

from melange.reports.analysis.run import Reading
from melange.reports.page import Column
from melange.reports.units import Scale


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardCell:
    reading: Reading
    note: str = ""
    """Shown next to the number, as for a mean over only some of its tasks."""
    verdict: str = "unclear"
    """Of a difference: `better`, `worse` or `unclear`."""
    p_value: float | None = None
    """Of a difference, corrected for all that are shown with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardColumn:
    """A column of the leaderboard; a new one needs a key, a scale and its cells."""

    key: str
    label: str
    group: str
    """Columns of a group are shown and hidden together."""
    scale: Scale
    cells: Mapping[str, BoardCell]
    hint: str = ""
    higher_is_better: bool | None = None
    signed: bool = False
    """Whether numbers are differences, written with a sign."""

    @property
    def counted(self) -> bool:
        """Whether n is a number of examples, which readers of accuracies want to see."""
        return self.group in ("mean", "split", "domain", "task")

    @property
    def file_columns(self) -> list[Column]:
        """Columns of a table with a row per candidate."""
        found = [Column(self.key, lambda row: self.cells[row.candidate].reading)]
        if self.signed:
            found.append(Column(f"{self.key}_p", lambda row: self.cells[row.candidate].p_value))
        return found
