"""Proxy-tuning: a small tuned model steers a large one while it decodes.

Source: Liu et al. 2024, https://arxiv.org/abs/2401.08565; several pairs at once as in DExperts,
Liu et al. 2021, https://arxiv.org/abs/2105.03023.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from melange.baselines.entries import OneOrMore, candidate_name
from melange.harness.recipes.logit_mix import LogitMix, Member
from melange.harness.records import Candidate, Record

Alpha = Annotated[float, Field(allow_inf_nan=False)]


class Pair(Record):
    """What a mix gains: alpha * (expert - antiexpert)."""

    expert: str = ""
    adapter: str = ""
    """A PEFT adapter over the antiexpert, instead of an expert."""
    antiexpert: str
    alpha: Alpha = 1.0
    own_prompt: bool = False

    @property
    def tuned(self) -> str:
        return self.expert or self.adapter

    @property
    def label(self) -> str:
        """In a candidate's name."""
        return domain(self.expert) if self.expert else Path(self.adapter).name

    @model_validator(mode="after")
    def names_one_expert(self) -> "Pair":
        if bool(self.expert) == bool(self.adapter):
            raise ValueError("give either expert: ROLE or adapter: ROLE")
        return self


class ProxyOptions(Record):
    base: str
    expert: str | None = None
    experts: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()
    """PEFT adapters over the antiexpert: a role or a folder each."""
    antiexpert: str = ""
    alpha: OneOrMore[Alpha] = (1.0,)
    pairs: tuple[Pair, ...] = ()
    """Several experts at once, in one candidate."""
    own_prompt: bool = False
    """Experts see prompts through their own chat template."""
    name: str | None = None

    @model_validator(mode="after")
    def names_experts_once(self) -> "ProxyOptions":
        ways = (self.expert, self.experts, self.adapters, self.pairs)
        if sum(map(bool, ways)) != 1:
            raise ValueError(
                "give one of expert: ROLE, experts: [ROLE, ...], adapters: [ROLE, ...] "
                "and pairs: [...]"
            )
        if not self.pairs and not self.antiexpert:
            raise ValueError("an expert needs its antiexpert: ROLE, the model it was tuned from")
        return self

    def alone(self) -> Iterator[Pair]:
        """The pairs of the candidates that have one each."""
        experts = [{"expert": one} for one in self.experts or (self.expert or "",) if one]
        experts += [{"adapter": one} for one in self.adapters]
        for expert in experts:
            for alpha in self.alpha:
                yield Pair(
                    **expert, antiexpert=self.antiexpert, alpha=alpha, own_prompt=self.own_prompt
                )


class Proxy:
    name = "proxy"
    family = "proxy"
    source = "https://arxiv.org/abs/2401.08565"
    options = ProxyOptions

    def candidates(self, options: ProxyOptions, roles: Sequence[str]) -> Iterator[Candidate]:
        if options.pairs:
            domains = "+".join(pair.label for pair in options.pairs)
            name = candidate_name(options.name, True, "proxy", domains)
            yield self._candidate(name, options.base, options.pairs)
            return
        pairs = list(options.alone())
        for pair in pairs:
            parts = ("proxy", pair.label, f"a{pair.alpha}")
            name = candidate_name(options.name, len(pairs) == 1, *parts)
            yield self._candidate(name, options.base, [pair])

    def _candidate(self, name: str, base: str, pairs: Sequence[Pair]) -> Candidate:
        shifts = (f"{pair.alpha:g} ({pair.tuned} - {pair.antiexpert})" for pair in pairs)
        return Candidate(
            name=name,
            family=self.family,
            recipe=LogitMix(method=self.name, members=mix_members(base, pairs)),
            summary=" + ".join([base, *shifts]) + " on logits",
            source=self.source,
        )


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


def domain(role: str) -> str:
    """What the role was tuned for: `mix` of `small_mix`."""
    return role.rpartition("/")[2].partition("_")[2] or role.rpartition("/")[2]


METHOD = Proxy()
