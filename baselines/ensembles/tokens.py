"""Token-level ensembles: the mean of several models' logits, or of their distributions.

The counterpart of weight averaging: the same M models at M times the cost.
"""

from collections.abc import Iterator
from itertools import product
from typing import Literal

from melange.baselines.options import Values, candidate_name
from melange.baselines.selection import SelectionOptions, selected
from melange.harness.recipes.logit_mix import LogitMix, Member
from melange.harness.records import Candidate
from melange.harness.roles import Roles

Average = Literal["logits", "probabilities"]


class EnsembleOptions(SelectionOptions):
    average: Values[Average] = ("probabilities",)


class Ensemble:
    name = "ensemble"
    family = "ensemble"
    source = "https://magazine.sebastianraschka.com/p/research-papers-in-january-2024"
    options = EnsembleOptions

    def candidates(self, options: EnsembleOptions, roles: Roles) -> Iterator[Candidate]:
        single = len(options.average) == 1
        for group, average in product(selected(options, roles, at_least=2), options.average):
            share = 1 / len(group.models)
            members = tuple(Member(role=role, coefficient=share) for role in group.names)
            yield Candidate(
                name=candidate_name(options.name, single, self.name, average, tag=group.tag),
                family=self.family,
                recipe=LogitMix(method=self.name, members=members, combine=average),
                summary=f"mean of the {average} of {', '.join(group.names)}",
                source=self.source,
            )


METHOD = Ensemble()
