"""LaWA: uniform mean of the latest k checkpoints, also early in training (`at`).

Sources: Kaddour 2022, https://arxiv.org/abs/2209.14981; Sanyal et al. 2023,
https://arxiv.org/abs/2306.03241 (k=5, high learning rates, checkpoints spaced apart).
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

NumCheckpoints = Annotated[int, Field(ge=2)]


class LawaOptions(TrajectoryOptions):
    k: Values[NumCheckpoints] = (5,)
    """Number of checkpoints, with the latest."""


class Lawa(TrajectoryAverage):
    name = "lawa"
    source = "https://arxiv.org/abs/2306.03241"
    options = LawaOptions

    def variants(self, options: LawaOptions) -> Iterator[Variant]:
        for k in options.k:
            yield Variant(
                tag=f"k{k}",
                summary=f"mean of the latest {k} checkpoints",
                choose=partial(latest, k=k),
                at_least=k,
            )

    def average(self, states: "Iterable[State]", options: Mapping[str, Any]) -> "State":
        from melange.harness.checkpoints.arithmetic import uniform_average

        return uniform_average(states)


def latest(run: list[Checkpoint], *, k: int) -> list[Checkpoint]:
    return run[-k:]


METHOD = Lawa()
