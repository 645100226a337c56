"""SWA: uniform mean of the checkpoints of a run's last part.

Source: Izmailov et al. 2018, https://arxiv.org/abs/1803.05407. Unlike there, the run's learning
rate was not chosen for averaging.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from melange.baselines.averaging.trajectory import (
    Checkpoint,
    TrajectoryAverage,
    TrajectoryOptions,
    Variant,
)
from melange.baselines.options import Values

if TYPE_CHECKING:
    from melange.baselines.averaging.trajectory import State

Fraction = Annotated[float, Field(ge=0, lt=1)]


class SwaOptions(TrajectoryOptions):
    start: Values[Fraction] = (0.5,)
    """Share of the steps that pass before averaging begins."""


class Swa(TrajectoryAverage):
    name = "swa"
    source = "https://arxiv.org/abs/1803.05407"
    options = SwaOptions

    def variants(self, options: SwaOptions) -> Iterator[Variant]:
        for start in options.start:
            yield Variant(
                tag=f"s{start}",
                summary=f"mean of the checkpoints after {start:.0%} of the steps",
                choose=partial(from_fraction, start=start),
            )

    def average(self, states: "Iterable[State]", options: Mapping[str, Any]) -> "State":
        from melange.harness.checkpoints.arithmetic import uniform_average

        return uniform_average(states)


def from_fraction(run: list[Checkpoint], *, start: float) -> list[Checkpoint]:
    return [checkpoint for checkpoint in run if checkpoint.step >= start * run[-1].step]


METHOD = Swa()
