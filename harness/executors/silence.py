"""How long an engine may go without finishing a step before the run considers it hung.

A cell may take hours as long as its engine keeps finishing steps. For reasons and figures see
docs/decisions/a-worker-that-says-nothing.md.
"""

import math
import os

from melange.harness.errors import HarnessError

ELSEWHERE = 4
"""Factor of the limit outside of steps: starting an engine, loading weights, reading or fetching a
task take longer."""
VARIABLE = "MELANGE_SILENCE_SEC"
FLOOR_SEC = 300.0
SEC_PER_GIB = 300.0
"""A full step of 4,096 tokens through 1 GiB of bfloat16 weights is 4.4 Tflop: 15 Gflop/s finish it
in this time, less than one busy core does. Reading 1 GiB in this time takes 3.6 MB/s."""


def silence_limit(weights_bytes: int) -> float:
    """Seconds for an engine with so many bytes of weights; $MELANGE_SILENCE_SEC if set.

    Raises:
        HarnessError: the variable is not a number of seconds.
    """
    asked = os.environ.get(VARIABLE)
    if not asked:
        return FLOOR_SEC + SEC_PER_GIB * weights_bytes / 2**30
    try:
        seconds = float(asked)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise HarnessError(
            f"{VARIABLE}={asked!r} is not a number of seconds above 0; correct or unset it"
        )
    return seconds
