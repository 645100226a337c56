"""Candidates that are timed as one, and the order of a round."""

import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from melange.harness.prepare import Prepared

REFERENCE_EVERY = 3
"""The reference is timed before, after, and between every so many units of a round."""


@dataclass(eq=False, slots=True)
class Unit:
    """Candidates whose engines run the same kernels: each visit times one of them, in turn."""

    members: list[Prepared]
    """Those that have not failed. The reference candidate is one even if it is not due."""
    due: Sequence[Prepared]
    """Whose results are recorded."""
    visits: int = 0

    @property
    def name(self) -> str:
        """The first candidate whose result is recorded; else the first."""
        names = self.names
        return names[0] if names else self.members[0].candidate.name

    @property
    def names(self) -> list[str]:
        """Of the candidates whose result is recorded, without those that failed."""
        due = {one.candidate.name for one in self.due}
        return [one.candidate.name for one in self.members if one.candidate.name in due]

    def next_member(self) -> Prepared:
        self.visits += 1
        return self.members[(self.visits - 1) % len(self.members)]

    def lose(self, member: Prepared) -> None:
        self.members = [one for one in self.members if one is not member]
        self.visits -= 1  # it was no visit: the next member takes its turn


def units_of(due: Sequence[Prepared], reference: Prepared | None) -> list[Unit]:
    """The candidates by their kernels, the reference's first."""
    groups: dict[Hashable, list[Prepared]] = {}
    if reference is not None:
        groups[reference.kernels] = []
    for one in due:
        groups.setdefault(one.kernels, []).append(one)
    units = [Unit(list(group), group) for group in groups.values()]
    if reference is not None and not any(one is reference for one in units[0].due):
        units[0].members.insert(0, reference)
    return units


def round_order(units: Sequence[Unit], reference: Unit | None, seed: str) -> list[Unit]:
    """The units in random order, with the reference after every few of them and at the end.

    Each unit stands between two of its visits, the first of them perhaps in the round before, so
    that a drift of the machine within a round cancels.
    """
    others = [one for one in units if one is not reference]
    random.Random(seed).shuffle(others)
    if reference is None:
        return others
    order: list[Unit] = []
    for start in range(0, len(others), REFERENCE_EVERY):
        order += [*others[start : start + REFERENCE_EVERY], reference]
    return order or [reference]
