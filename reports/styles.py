"""How families are drawn: the same on every page of a run, a comparison or a series of runs."""

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
    """By family, in the order in which they first come."""
    # Past seven families the shapes shift against the colours, so that pairs stay unique.
    return {
        family: FamilyStyle(
            family=family,
            colour=i % NUM_COLOURS,
            marker=MARKERS[(i + i // NUM_COLOURS) % len(MARKERS)],
        )
        for i, family in enumerate(dict.fromkeys(families))
    }
