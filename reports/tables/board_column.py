"""What a column of the leaderboard is."""

from collections.abc import Mapping
from dataclasses import dataclass

from melange.reports.analysis.run import Reading
from melange.reports.page import Column
from melange.reports.units import Scale


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardCell:
    reading: Reading
    note: str = ""
    """Said beside the number: a mean over only some of its tasks."""
    verdict: str = "unclear"
    """`better`, `worse` or `unclear`: of a difference."""
    p_value: float | None = None
    """Of a difference, corrected for all that are shown beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardColumn:
    """One column of the leaderboard; a new one needs a key, a scale and its cells."""

    key: str
    label: str
    group: str
    """What is shown and hidden together."""
    scale: Scale
    cells: Mapping[str, BoardCell]
    hint: str = ""
    higher_is_better: bool | None = None
    signed: bool = False
    """A difference: written with its sign."""

    @property
    def counted(self) -> bool:
        """Its n is a number of examples, which a reader of accuracies wants to see."""
        return self.group in ("mean", "split", "domain", "task")

    @property
    def file_columns(self) -> list[Column]:
        """Of a table with a row a candidate."""
        found = [Column(self.key, lambda row: self.cells[row.candidate].reading)]
        if self.signed:
            found.append(Column(f"{self.key}_p", lambda row: self.cells[row.candidate].p_value))
        return found
