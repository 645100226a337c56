"""How long an engine may finish no step before the run takes it for hung.

Work has no limit, silence has: a cell may take hours, as long as its engine finishes step after
step. docs/decisions/a-worker-that-says-nothing.md has the reasons and the figures.
"""

import math
import os

from melange.harness.errors import HarnessError

ELSEWHERE = 4
"""So many times as long a worker may be silent outside of steps: while it starts an engine, loads
weights, or reads a task that it may have to fetch."""
VARIABLE = "MELANGE_SILENCE_SEC"
FLOOR_SEC = 300.0
SEC_PER_GIB = 300.0
"""A full step of 4,096 tokens through 1 GiB of bfloat16 weights is 4.4 Tflop: 15 Gflop/s finish it
in this time, which is less than one busy core does. To read 1 GiB in it takes 3.6 MB/s."""


def silence_limit(weights_bytes: int) -> float:
    """Seconds, for an engine that holds so many bytes of weights; $MELANGE_SILENCE_SEC if set.

    Raises:
        HarnessError: the variable is no number of seconds.
    """
    asked = os.environ.get(VARIABLE)
    if not asked:
        return FLOOR_SEC + SEC_PER_GIB * weights_bytes / 2**30
    try:
        seconds = float(asked)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise HarnessError(f"{VARIABLE}={asked!r} is no number of seconds above 0; unset it")
    return seconds
