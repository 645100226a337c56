"""Blending: each response comes from one of several models, drawn at random.

Source: Lu et al. 2024, https://arxiv.org/abs/2401.02994. As there, a model is drawn for each
response with equal chances; what a task asks is one turn, so that no draw sees another's response.
"""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal
from zlib import crc32

from melange.baselines.options import candidate_name
from melange.baselines.selection import SelectionOptions, selected
from melange.harness.recipe import Ability
from melange.harness.recipes.composite import Composite
from melange.harness.recipes.weights import Weights
from melange.harness.records import Candidate
from melange.harness.requests import Completion, Generation, Request, Score
from melange.harness.roles import Roles

if TYPE_CHECKING:
    from melange.harness.panel import Panel


class Blend(Composite):
    kind: Literal["blend"] = "blend"

    abilities: ClassVar[frozenset[Ability]] = frozenset(
        {Ability.GENERATE, Ability.CHOOSE, Ability.SCORE}
    )

    def generate(self, panel: "Panel", batch: Sequence[Generation]) -> list[Completion]:
        drawn = [drawn_part(one, len(panel)) for one in batch]
        found: dict[int, Completion] = {}
        for at in sorted(set(drawn)):
            mine = [place for place, part in enumerate(drawn) if part == at]
            answers = panel.seat(at).generate([batch[place] for place in mine])
            found.update(zip(mine, answers, strict=True))
        return [found[place] for place in range(len(batch))]

    def score(self, panel: "Panel", batch: Sequence[Request]) -> list[Score]:
        """The probability of a response that is drawn so: the mean of the parts'."""
        rounds = [part.score(batch) for part in panel]
        return [
            Score(mean_of_probabilities([one.logprob for one in each]), all(o.greedy for o in each))
            for each in zip(*rounds, strict=True)
        ]


def drawn_part(asked: Generation, number: int) -> int:
    """Depends on the prompt alone, so that it does not change with the rest of the batch."""
    return crc32(repr((asked.prompt, asked.seed)).encode()) % number


def mean_of_probabilities(logprobs: Sequence[float]) -> float:
    highest = max(logprobs)
    if highest == -math.inf:
        return highest
    total = math.fsum(math.exp(one - highest) for one in logprobs)
    return highest + math.log(total / len(logprobs))


class Blending:
    name = "blend"
    family = "ensemble"
    source = "https://arxiv.org/abs/2401.02994"
    options = SelectionOptions

    def candidates(self, options: SelectionOptions, roles: Roles) -> Iterator[Candidate]:
        for group in selected(options, roles, at_least=2):
            parts = tuple(Weights(method="checkpoint", inputs=(role,)) for role in group.names)
            own = f"blend-{len(parts)}"
            yield Candidate(
                name=candidate_name(options.name, True, own, tag=group.tag),
                family=self.family,
                recipe=Blend(method=self.name, parts=parts),
                summary=f"each response from one of {', '.join(group.names)}, drawn at random",
                source=self.source,
            )


METHOD = Blending()
