"""Proxy-tuning: a small tuned model steers a large one while it decodes.

Source: Liu et al. 2024, https://arxiv.org/abs/2401.08565.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field, model_validator

from baselines.entries import OneOrMore, candidate_name
from harness.records import Candidate, LogitMix, Record

Alpha = Annotated[float, Field(allow_inf_nan=False)]


class ProxyOptions(Record):
    base: str
    expert: str | None = None
    experts: tuple[str, ...] = ()
    antiexpert: str
    alpha: OneOrMore[Alpha] = (1.0,)
    name: str | None = None

    @model_validator(mode="after")
    def names_experts_once(self) -> "ProxyOptions":
        if bool(self.expert) == bool(self.experts):
            raise ValueError("give either expert: ROLE or experts: [ROLE, ...]")
        return self


class Proxy:
    name = "proxy"
    family = "proxy"
    source = "https://arxiv.org/abs/2401.08565"
    options = ProxyOptions

    def candidates(self, options: ProxyOptions, roles: Sequence[str]) -> Iterator[Candidate]:
        experts = options.experts or (options.expert or "",)
        single = len(experts) * len(options.alpha) == 1
        for expert in experts:
            for alpha in options.alpha:
                recipe = LogitMix(
                    method=self.name,
                    base=options.base,
                    expert=expert,
                    antiexpert=options.antiexpert,
                    alpha=alpha,
                )
                yield Candidate(
                    name=candidate_name(options.name, single, "proxy", domain(expert), f"a{alpha}"),
                    family=self.family,
                    recipe=recipe,
                    summary=f"{options.base} + {alpha} ({expert} - {options.antiexpert}) on logits",
                    source=self.source,
                )


def domain(role: str) -> str:
    """What the role was tuned for: `mix` of `small_mix`."""
    return role.partition("_")[2] or role


METHOD = Proxy()
