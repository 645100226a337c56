"""Chooses the examples of a candidate to check."""

import random
from collections.abc import Collection, Mapping

Place = tuple[str, int]
"""A task, and an example's row in its data set."""


def choose(lengths: Mapping[str, Mapping[int, int]], number: int, *, seed: str) -> list[Place]:
    """`number` examples of these tasks, given the length of each one's prompt by its number.

    The longest prompt, where contexts are cut; the shortest, which is little more than its first
    token; the others at random, spread over the tasks.
    """
    places = [(task, at) for task, sizes in lengths.items() for at in sizes]
    if not places:
        return []
    longest = max(places, key=lambda place: lengths[place[0]][place[1]])
    shortest = min(places, key=lambda place: lengths[place[0]][place[1]])
    chosen = list(dict.fromkeys([longest, shortest]))[:number]
    return chosen + _drawn(lengths, number - len(chosen), chosen, seed)


def one_each(lengths: Mapping[str, Mapping[int, int]], *, seed: str) -> list[Place]:
    """An example of every task."""
    return _drawn(lengths, sum(map(bool, lengths.values())), (), seed)


def _drawn(
    lengths: Mapping[str, Mapping[int, int]], number: int, taken: Collection[Place], seed: str
) -> list[Place]:
    """One of each task in turn, tasks without a taken example first."""
    rng = random.Random(seed)
    decks = {}
    for task, sizes in lengths.items():
        free = [at for at in sizes if (task, at) not in taken]
        decks[task] = rng.sample(free, min(len(free), max(number, 0)))
    order = rng.sample(list(decks), len(decks))
    order.sort(key=lambda task: any(task == known for known, _ in taken))
    rounds = range(max(map(len, decks.values()), default=0))
    drawn = [
        (task, decks[task][turn]) for turn in rounds for task in order if turn < len(decks[task])
    ]
    return drawn[: max(number, 0)]
