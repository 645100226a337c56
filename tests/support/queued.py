"""Makes queued candidates of a given engine shape."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melange.harness.loads import Load
from melange.harness.prepare import Prepared
from melange.harness.recipes.weights import Weights
from melange.harness.records import Candidate, EngineShape


def shaped(name: str) -> EngineShape:
    return EngineShape(signature=name, max_model_len=8)


@dataclass(frozen=True, slots=True)
class Info:
    num_active_parameters: int


def prepared(name: str, family: str, shape: str, parameters: int = 1) -> Prepared:
    recipe = Weights(method="checkpoint", inputs=(name,))
    candidate = Candidate(name=name, family=family, recipe=recipe)
    infos: list[Any] = [Info(parameters)]
    return Prepared(candidate, Load(Path(name)), shaped(shape), infos)
