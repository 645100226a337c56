"""Contrastive decoding: away from what a weaker model would say.

(1 + alpha) * expert - alpha * amateur on logits: DExperts with the base as its own expert.
Source: Liu et al. 2021, https://arxiv.org/abs/2105.03023; without the plausibility mask of Li et
al. 2023, https://arxiv.org/abs/2210.15097.
"""

from collections.abc import Iterator, Sequence

from melange.baselines.entries import OneOrMore, candidate_name
from melange.baselines.proxy.tuning import Alpha
from melange.harness.recipes.logit_mix import LogitMix, Member
from melange.harness.records import Candidate, Record


class ContrastiveOptions(Record):
    expert: str
    amateur: str
    alpha: OneOrMore[Alpha] = (0.5,)
    name: str | None = None


class Contrastive:
    name = "contrastive"
    family = "proxy"
    source = "https://arxiv.org/abs/2105.03023"
    options = ContrastiveOptions

    def candidates(self, options: ContrastiveOptions, roles: Sequence[str]) -> Iterator[Candidate]:
        for alpha in options.alpha:
            members = (
                Member(role=options.expert, coefficient=1 + alpha),
                Member(role=options.amateur, coefficient=-alpha),
            )
            single = len(options.alpha) == 1
            yield Candidate(
                name=candidate_name(options.name, single, self.name, options.expert, f"a{alpha}"),
                family=self.family,
                recipe=LogitMix(method=self.name, members=members),
                summary=f"{1 + alpha:g} {options.expert} - {alpha:g} {options.amateur} on logits",
                source=self.source,
            )


METHOD = Contrastive()
