"""Which rows of a data set a limit leaves: drawn by seed, as the first may be of one kind."""

import random


def drawn_rows(num_rows: int, limit: int | None, *, seed: int, name: str) -> list[int]:
    """Sorted row numbers, at most `limit`; all without one.

    They depend on the data set's name and size, so they are the same for every candidate. What a
    smaller limit draws, a larger one draws as well.
    """
    if limit is None or limit >= num_rows:
        return list(range(num_rows))
    order = random.Random(f"{seed}/{name}").sample(range(num_rows), num_rows)
    return sorted(order[:limit])
