"""Majority voting over the answers of several models; one model several times is self-consistency.

The foil of weight averaging: M models, M times the cost.
Source: Wang et al. 2022, https://arxiv.org/abs/2203.11171, for several answers of one model.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from melange.baselines.options import candidate_name
from melange.baselines.selection import SelectionOptions, selected
from melange.harness.recipe import Ability
from melange.harness.recipes.composite import Composite, sampled
from melange.harness.recipes.weights import Weights
from melange.harness.records import Candidate
from melange.harness.requests import Completion, Generation, Request, Score
from melange.harness.roles import Roles

if TYPE_CHECKING:
    from melange.harness.panel import Panel

DEFEATED = -1e6
"""Stands for a log-probability, which a vote does not have."""


class Vote(Composite):
    """Votes are counted on the answers that a task extracts; in a tie, the earliest wins."""

    kind: Literal["vote"] = "vote"
    temperature: float = 0.0

    abilities: ClassVar[frozenset[Ability]] = frozenset({Ability.GENERATE, Ability.CHOOSE})

    def generate(self, panel: "Panel", batch: Sequence[Generation]) -> list[Completion]:
        rounds = [
            part.generate(sampled(batch, self.temperature, draw)) for draw, part in enumerate(panel)
        ]
        return [elected(answers) for answers in zip(*rounds, strict=True)]

    def score(self, panel: "Panel", batch: Sequence[Request]) -> list[Score]:
        """0 for the continuation of a context that most parts find most likely."""
        rounds = [part.score(batch) for part in panel]
        found: list[Score] = []
        for _, places in groupby(range(len(batch)), key=lambda at: batch[at].context):
            choices = list(places)
            votes = Counter(max(choices, key=lambda at: own[at].logprob) for own in rounds)
            winner = votes.most_common(1)[0][0]
            found += [Score(0.0 if at == winner else DEFEATED, at == winner) for at in choices]
        return found


def elected(answers: Sequence[Completion]) -> Completion:
    """The first answer with the most common text. Who extracts answers counts `ballots` instead."""
    winner = Counter(one.text.strip() for one in answers).most_common(1)[0][0]
    chosen = next(one for one in answers if one.text.strip() == winner)
    return chosen._replace(ballots=tuple(one.text for one in answers))


class VoteOptions(SelectionOptions):
    draws: int = Field(default=1, ge=1)
    """Number of votes per model."""
    temperature: float = Field(default=0.0, ge=0)


class Voting:
    name = "vote"
    family = "ensemble"
    source = "https://arxiv.org/abs/2203.11171"
    options = VoteOptions

    def candidates(self, options: VoteOptions, roles: Roles) -> Iterator[Candidate]:
        each = f"{options.draws} answers each of " if options.draws > 1 else ""
        for group in selected(options, roles, at_least=2 if options.draws == 1 else 1):
            parts = tuple(
                Weights(method="checkpoint", inputs=(role,))
                for role in group.names
                for _ in range(options.draws)
            )
            own = f"vote-{len(parts)}"
            yield Candidate(
                name=candidate_name(options.name, True, own, tag=group.tag),
                family=self.family,
                recipe=Vote(method=self.name, parts=parts, temperature=options.temperature),
                summary=f"majority of {each}{', '.join(group.names)}",
                source=self.source,
            )


METHOD = Voting()
