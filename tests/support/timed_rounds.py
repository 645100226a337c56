"""Rounds as a worker returns them, without a worker."""

from pathlib import Path

from melange.harness.executors.jobs import Timed
from melange.harness.loads import Load
from melange.harness.measure.collectors import watching
from melange.harness.measure.metric import Watched
from melange.harness.measure.speed import Round
from melange.harness.prepare import Prepared
from melange.harness.recipes.weights import Weights
from melange.harness.records import Candidate, EngineShape
from melange.harness.requests import Timing


def prepared(name: str) -> Prepared:
    weights = Weights(method="checkpoint", inputs=(name,))
    candidate = Candidate(name=name, family="single", recipe=weights)
    return Prepared(candidate, Load(Path()), EngineShape(signature="s", max_model_len=8), ())


def timed(wall_sec: float) -> Timed:
    one = Round(
        started="2024-01-31T10:00:00.000+00:00",
        prompt_tokens=6,
        output_tokens=4,
        wall_sec=wall_sec,
        timings=[Timing(0.1, 0.1), Timing(0.2, 0.6)],
        output_lengths=[1, 3],
    )
    read = with_readings(one)
    return Timed({"8/8": read, "mixed": read}, {"calibration_sec": 0.01})


def with_readings(one: Round) -> Round:
    """The round with collectors' readings."""
    watched = Watched(session=None, device="cpu")  # type: ignore[arg-type]
    with watching("workload", watched):
        watched.rounds.append(one)
    return one._replace(readings=watched.readings)
