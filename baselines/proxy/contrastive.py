"""Contrastive decoding: away from what a weaker model would say.

(1 + alpha) * expert - alpha * amateur on logits: DExperts with the base as its own expert.
Source: Liu et al. 2021, https://arxiv.org/abs/2105.03023; without the plausibility mask of Li et
al. 2023, https://arxiv.org/abs/2210.15097.
"""

from collections.abc import Iterator
from itertools import product

from melange.baselines.options import Values, candidate_name
from melange.baselines.proxy.tuning import Alpha
from melange.baselines.selection import Models, SelectionOptions, selected
from melange.harness.recipes.logit_mix import LogitMix, Member
from melange.harness.records import Candidate
from melange.harness.roles import Lacks, Roles


class ContrastiveOptions(SelectionOptions):
    models: Models = "broadest"
    """Which fine-tunes of a base that has a smaller one are experts."""
    expert: str = ""
    """A role, rather than those."""
    amateur: str = ""
    """A role; the smallest base with the expert's vocabulary, if empty."""
    alpha: Values[Alpha] = (0.5,)


class Contrastive:
    name = "contrastive"
    family = "proxy"
    source = "https://arxiv.org/abs/2105.03023"
    options = ContrastiveOptions

    def candidates(self, options: ContrastiveOptions, roles: Roles) -> Iterator[Candidate]:
        pairs = list(_pairs(options, roles))
        for (expert, amateur), alpha in product(pairs, options.alpha):
            members = (
                Member(role=expert, coefficient=1 + alpha),
                Member(role=amateur, coefficient=-alpha),
            )
            single = len(pairs) * len(options.alpha) == 1
            yield Candidate(
                name=candidate_name(options.name, single, self.name, expert, f"a{alpha}"),
                family=self.family,
                recipe=LogitMix(method=self.name, members=members),
                summary=f"{1 + alpha:g} {expert} - {alpha:g} {amateur} on logits",
                source=self.source,
            )


def _pairs(options: ContrastiveOptions, roles: Roles) -> Iterator[tuple[str, str]]:
    """Experts and amateurs.

    Raises:
        Lacks: no expert has a smaller model of its vocabulary.
    """
    if options.expert and options.amateur:
        yield options.expert, options.amateur
        return
    if options.expert:
        options = options.model_copy(update={"models": (options.expert,)})
    found = False
    for group in selected(options, roles, at_least=1):
        smaller = roles.smaller(roles.get(group.base))
        smallest = min(smaller, key=lambda one: one.num_parameters or 0, default=None)
        amateur = options.amateur or (smallest.name if smallest else "")
        for expert in group.names if amateur else ():
            found = True
            yield expert, amateur
    if not found:
        raise Lacks("no base with a fine-tune and a smaller base of the same vocabulary")


METHOD = Contrastive()
