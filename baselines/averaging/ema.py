"""EMA: exponential moving average over a run's checkpoints.

Source: Tarvainen and Valpola 2017, https://arxiv.org/abs/1703.01780, who update at every training
step. Here each checkpoint is one update: decay 0.5 stands for 0.5 ** (1 / interval) per step.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from melange.baselines.averaging.trajectory import TrajectoryAverage, TrajectoryOptions, Variant
from melange.baselines.options import Values

if TYPE_CHECKING:
    from melange.baselines.averaging.trajectory import State

Decay = Annotated[float, Field(ge=0, lt=1)]


class EmaOptions(TrajectoryOptions):
    decay: Values[Decay] = (0.5,)
    """Weight that the average keeps at each checkpoint."""


class Ema(TrajectoryAverage):
    name = "ema"
    source = "https://arxiv.org/abs/1703.01780"
    options = EmaOptions

    def variants(self, options: EmaOptions) -> Iterator[Variant]:
        for decay in options.decay:
            yield Variant(
                tag=f"b{decay}",
                summary=f"moving average, decay {decay}, over the checkpoints",
                choose=list,
                options={"decay": decay},
            )

    def average(self, states: "Iterable[State]", options: Mapping[str, Any]) -> "State":
        from melange.harness.checkpoints.arithmetic import exponential_average

        return exponential_average(states, options["decay"])


METHOD = Ema()
