"""Proxy-tuning: a small tuned model steers a large one while it decodes.

Source: Liu et al. 2024, https://arxiv.org/abs/2401.08565; several pairs at once as in DExperts,
Liu et al. 2021, https://arxiv.org/abs/2105.03023.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, get_args

from pydantic import Field, model_validator

from melange.baselines.options import Values, candidate_name
from melange.baselines.selection import of_domains, word_or_names
from melange.harness.errors import HarnessError
from melange.harness.recipes.logit_mix import LogitMix, Member
from melange.harness.records import Candidate, Record
from melange.harness.roles import Lacks, Role, Roles

Alpha = Annotated[float, Field(allow_inf_nan=False)]
Selected = Literal["tuned", "adapters", "specialists"]


class Pair(Record):
    """What a mix gains: alpha * (expert - antiexpert)."""

    expert: str = ""
    adapter: str = ""
    """A PEFT adapter over the antiexpert, instead of an expert."""
    antiexpert: str = ""
    """What the zoo says that the expert was made from, if empty."""
    alpha: Alpha = 1.0
    own_prompt: bool = False

    @property
    def tuned(self) -> str:
        return self.expert or self.adapter

    @model_validator(mode="after")
    def names_one_expert(self) -> "Pair":
        if bool(self.expert) == bool(self.adapter):
            raise ValueError("give either expert: ROLE or adapter: ROLE")
        return self


class ProxyOptions(Record):
    base: str = ""
    """A role, a glob, or `largest`; every base that has a smaller one with experts, if empty."""
    expert: str | None = None
    experts: Annotated[Selected | tuple[str, ...], word_or_names(get_args(Selected))] = "tuned"
    """Roles, or which models made from the smaller base; those for most domains come first."""
    adapters: tuple[str, ...] = ()
    """PEFT adapters over the antiexpert: a role or a folder each."""
    antiexpert: str = ""
    """What the experts were tuned from; what the zoo says that they were, if empty."""
    domains: Values[str] = ()
    """Only experts for one of these."""
    skip: int = Field(default=0, ge=0)
    """Skip so many of the selected experts."""
    take: int | None = Field(default=None, ge=1)
    """Take at most so many of the rest."""
    together: bool = False
    """All selected experts of a smaller base steer one candidate together."""
    alpha: Values[Alpha] = (1.0,)
    pairs: tuple[Pair, ...] = ()
    """Several experts that steer one candidate together."""
    own_prompt: bool = False
    """Experts see prompts through their own chat template."""
    name: str | None = None

    @model_validator(mode="after")
    def names_experts_once(self) -> "ProxyOptions":
        named = not isinstance(self.experts, str)
        ways = sum(map(bool, (self.expert, named, self.adapters, self.pairs)))
        if ways > 1:
            raise ValueError(
                "give one of expert: ROLE, experts: [ROLE, ...], adapters: [ROLE, ...] "
                "and pairs: [...]"
            )
        if ways and not self.base:
            raise ValueError("named experts need base: ROLE, the model that they steer")
        return self

    @property
    def named(self) -> tuple[Pair, ...]:
        """The named experts, each with alpha 1."""
        experts = self.experts if isinstance(self.experts, tuple) else ()
        names = [Pair(expert=one) for one in ((self.expert,) if self.expert else experts)]
        return self.pairs or (*names, *(Pair(adapter=one) for one in self.adapters))


class Steering(NamedTuple):
    """A base and the pairs that can steer it."""

    base: str
    pairs: tuple[Pair, ...]
    tag: tuple[str, ...] = ()
    """Distinguishes the entry's candidates in their names."""


class Proxy:
    name = "proxy"
    family = "proxy"
    source = "https://arxiv.org/abs/2401.08565"
    options = ProxyOptions

    def candidates(self, options: ProxyOptions, roles: Roles) -> Iterator[Candidate]:
        found = steerings(options, roles)
        single = sum(len(one.pairs) for one in found) * len(options.alpha) == 1
        for one in found:
            if options.together or options.pairs:
                labels = "+".join(label(pair, roles) for pair in one.pairs)
                name = candidate_name(options.name, True, f"proxy-{labels}", tag=one.tag)
                yield self._candidate(name, one.base, one.pairs, roles)
                continue
            for pair, alpha in product(one.pairs, options.alpha):
                parts = ("proxy", label(pair, roles), f"a{alpha}")
                name = candidate_name(options.name, single, *parts, tag=one.tag)
                steered = pair.model_copy(update={"alpha": alpha})
                yield self._candidate(name, one.base, [steered], roles)

    def _candidate(self, name: str, base: str, pairs: Sequence[Pair], roles: Roles) -> Candidate:
        shifts = (f"{pair.alpha:g} ({pair.tuned} - {pair.antiexpert})" for pair in pairs)
        return Candidate(
            name=name,
            family=self.family,
            recipe=LogitMix(method=self.name, members=mix_members(base, pairs)),
            summary=" + ".join([base, *shifts]) + " on logits",
            source=self.source,
            goal=roles.alike(roles.get(pairs[0].tuned), base) if len(pairs) == 1 else "",
        )


def steerings(options: ProxyOptions, roles: Roles) -> list[Steering]:
    """What the options name, or every base with a smaller one and the selected experts of that.

    Raises:
        Lacks: the zoo has no such roles.
        HarnessError: it is unknown what a named expert was tuned from.
    """
    if options.named:
        return [
            Steering(options.base, tuple(complete(one, options, roles) for one in options.named))
        ]

    def experts(small: Role) -> list[Role]:
        return selected_experts(options, roles, small)

    larges = roles.bases(options.base, where=lambda one: any(map(experts, roles.smaller(one))))
    found = [(large, small) for large in larges for small in roles.smaller(large) if experts(small)]
    if not found:
        raise Lacks(f"no smaller base of a base's vocabulary with {_wanted(options)}")
    smalls = {small.name for _, small in found}
    return [
        Steering(
            large.name,
            tuple(complete(_pair(one), options, roles) for one in experts(small)),
            (
                *([large.name] if len(larges) > 1 else []),
                *([small.name] if len(smalls) > 1 else []),
            ),
        )
        for large, small in found
    ]


def selected_experts(options: ProxyOptions, roles: Roles, small: Role) -> list[Role]:
    """Of the smaller base, those for most domains first."""
    if options.experts == "adapters":
        found = roles.made_of(small.name, "adapter")
    elif options.experts == "specialists":
        found = roles.specialists(small)
    else:
        found = roles.broadest(small)
    rest = of_domains(found, options.domains)[options.skip :]
    taken = rest if options.take is None else rest[: options.take]
    return [] if options.together and len(taken) < 2 else taken


def _wanted(options: ProxyOptions) -> str:
    least = options.skip + (2 if options.together else 1)
    kind = "adapter" if options.experts == "adapters" else "fine-tune"
    what = f" for {' or '.join(options.domains)}" if options.domains else ""
    return f"{least} {kind}{'s' if least > 1 else ''}{what}"


def _pair(expert: Role) -> Pair:
    if expert.kind == "adapter":
        return Pair(adapter=expert.name)
    return Pair(expert=expert.name)


def complete(pair: Pair, options: ProxyOptions, roles: Roles) -> Pair:
    """The pair with its antiexpert."""
    antiexpert = pair.antiexpert or options.antiexpert or roles.get(pair.tuned).parent
    if not antiexpert:
        raise HarnessError(f"{pair.tuned} needs its antiexpert: ROLE, the model it was tuned from")
    own_prompt = pair.own_prompt or options.own_prompt
    return pair.model_copy(update={"antiexpert": antiexpert, "own_prompt": own_prompt})


def label(pair: Pair, roles: Roles) -> str:
    """In a candidate's name."""
    return Path(pair.adapter).name if pair.adapter else roles.get(pair.expert).called


def mix_members(base: str, pairs: Sequence[Pair]) -> tuple[Member, ...]:
    """The base and every expert and antiexpert once: an antiexpert of two pairs runs once."""
    coefficients = {Member(role=base, coefficient=0): 1.0}
    for pair in pairs:
        role = pair.expert or pair.antiexpert
        expert = Member(role=role, adapter=pair.adapter, coefficient=0, own_prompt=pair.own_prompt)
        antiexpert = Member(role=pair.antiexpert, coefficient=0)
        for member, change in ((expert, pair.alpha), (antiexpert, -pair.alpha)):
            coefficients[member] = coefficients.get(member, 0.0) + change
    return tuple(
        member.model_copy(update={"coefficient": value}) for member, value in coefficients.items()
    )


METHOD = Proxy()
