"""Token-level ensembles: the mean of several models' logits, or of their distributions.

The foil of weight averaging: the same models, M times the cost.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field

from melange.baselines.entries import OneOrMore, candidate_name
from melange.harness.recipes.logit_mix import LogitMix, Member
from melange.harness.records import Candidate, Record

Average = Literal["logits", "probabilities"]


class EnsembleOptions(Record):
    models: Annotated[tuple[str, ...], Field(min_length=2)]
    average: OneOrMore[Average] = ("probabilities",)
    name: str | None = None


class Ensemble:
    name = "ensemble"
    family = "ensemble"
    source = "https://magazine.sebastianraschka.com/p/research-papers-in-january-2024"
    options = EnsembleOptions

    def candidates(self, options: EnsembleOptions, roles: Sequence[str]) -> Iterator[Candidate]:
        share = 1 / len(options.models)
        members = tuple(Member(role=role, coefficient=share) for role in options.models)
        for average in options.average:
            yield Candidate(
                name=candidate_name(options.name, len(options.average) == 1, self.name, average),
                family=self.family,
                recipe=LogitMix(method=self.name, members=members, combine=average),
                summary=f"mean of the {average} of {', '.join(options.models)}",
                source=self.source,
            )


METHOD = Ensemble()
