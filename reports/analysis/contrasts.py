"""Differences between two candidates as pages show them: corrected, and with their basis.

`smallest` says which difference could have been detected, for when the verdict is unclear.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from melange.harness.stats import Paired, holm, smallest_effect
from melange.reports.analysis.aggregate import difference
from melange.reports.analysis.run import Reading

ALPHA = 0.05
POWER = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """One candidate's mean minus another's, or why there is none."""

    value: float | None = None
    low: float | None = None
    """95 % interval of this difference alone."""
    high: float | None = None
    p_value: float | None = None
    """Two-sided; None if nothing could be paired."""
    adjusted_p: float | None = None
    """Corrected for all comparisons shown with it; None for a single one."""
    smallest: float | None = None
    """The true difference that four of five such runs would detect, with the same correction."""
    examples: int = 0
    tasks: int = 0
    of_tasks: int = 0
    note: str = ""
    """The number's basis, if that is less than paired examples of all tasks."""
    reason: str = ""

    @property
    def reading(self) -> Reading:
        """For a contrast that has a value."""
        return Reading(
            value=self.value,
            low=self.low,
            high=self.high,
            n=self.examples,
            outcome="completed",
            reason="",
        )

    @property
    def verdict(self) -> str:
        """`higher`, `lower` or `unclear`; empty without a number.

        By the corrected p-value, or by the interval if nothing could be paired.
        """
        if self.value is None or self.low is None or self.high is None:
            return ""
        p_value = self.p_value if self.adjusted_p is None else self.adjusted_p
        doubtful = self.low <= 0 <= self.high if p_value is None else p_value > ALPHA
        if doubtful:
            return "unclear"
        return "higher" if self.value > 0 else "lower"


def paired_contrast(
    found: Paired, *, tasks: int = 1, of_tasks: int = 1, note: str = ""
) -> Contrast:
    return Contrast(
        value=found.difference,
        low=found.low,
        high=found.high,
        p_value=found.p_value,
        smallest=smallest_effect(1, found.error, ALPHA, POWER),
        examples=found.n,
        tasks=tasks,
        of_tasks=of_tasks,
        note=note,
    )


def unpaired_contrast(mine: Reading, theirs: Reading) -> Contrast:
    """From the recorded intervals alone; both have a value."""
    found = difference(mine, theirs)
    assert found is not None, "both have a value"
    return Contrast(
        value=found.value,
        low=found.low,
        high=found.high,
        examples=min(mine.n or 0, theirs.n or 0),
        tasks=1,
        of_tasks=1,
        note="not paired: as if measured on different examples",
    )


def corrected(found: Contrast, adjusted_p: float, num_comparisons: int) -> Contrast:
    """With its adjusted p-value, and `smallest` for the strictest step of Holm's correction."""
    assert found.smallest is not None, "a paired contrast"
    strict = smallest_effect(1, 1.0, ALPHA / num_comparisons, POWER)
    alone = smallest_effect(1, 1.0, ALPHA, POWER)
    return replace(found, adjusted_p=adjusted_p, smallest=found.smallest * strict / alone)


def corrected_together(contrasts: Mapping[str, Contrast]) -> dict[str, Contrast]:
    """Holm's correction over all that have a p-value."""
    p_values = {name: one.p_value for name, one in contrasts.items() if one.p_value is not None}
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return {
        name: corrected(one, adjusted[name], len(adjusted)) if name in adjusted else one
        for name, one in contrasts.items()
    }
