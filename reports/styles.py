"""Colours and shapes of families, the same on all pages of a report."""

from collections.abc import Iterable
from dataclasses import dataclass

MARKERS = ("circle", "square", "triangle", "diamond", "down", "plus", "cross")
NUM_COLOURS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyStyle:
    """Colour and shape say the same thing."""

    family: str
    colour: int
    """Index of the stylesheet's --family-N."""
    marker: str


def family_styles(families: Iterable[str]) -> dict[str, FamilyStyle]:
    """Styles by family, assigned in order of first appearance."""
    # After seven families, shapes shift relative to colours, so that pairs stay unique.
    return {
        family: FamilyStyle(
            family=family,
            colour=i % NUM_COLOURS,
            marker=MARKERS[(i + i // NUM_COLOURS) % len(MARKERS)],
        )
        for i, family in enumerate(dict.fromkeys(families))
    }
