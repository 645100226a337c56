"""Why a race stopped a candidate; plain data of a measurement."""

from pydantic import Field

from melange.harness.recipe import Record


class Stop(Record):
    """Why a race asked a candidate no further examples."""

    top: int = Field(ge=1)
    """So many others are better, as is shown."""
    share: float = Field(gt=0, le=1)
    """Of each task's examples, asked until then."""
    examples: int
    """Of the tasks that count for the mean."""
    log10_e_value: float
    """Logarithm of the e-value for that: by chance it ever reaches w with probability 1/w."""
    log10_needed: float
    """What it had to reach, given how many candidates were left."""
    behind: tuple[str, ...]
    """The candidates that it was shown to be behind most clearly, `top` of them."""
