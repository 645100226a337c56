"""Synthetic loads: batches that are sent at once, and requests that arrive at a rate."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator

from melange.harness.recipe import Record

CUT = " (cut to "
"""In the name of a workload that was cut to fit a context."""


class Goodput(Record):
    """What a request must meet to count, like vLLM's `--goodput`; seconds, each limit optional.

    Source: Zhong et al. 2024 (DistServe), https://arxiv.org/abs/2401.09670.
    """

    ttft_sec: float | None = Field(default=None, gt=0)
    tpot_sec: float | None = Field(default=None, gt=0)
    latency_sec: float | None = Field(default=None, gt=0)
    """From end to end; vLLM's `e2el`."""
    attainment: float = Field(default=0.9, gt=0, le=1)
    """A rate meets the objective if at least this share of its requests meet every limit."""

    @property
    def limits(self) -> dict[str, float]:
        """Seconds by metric."""
        return self.model_dump(exclude_none=True, exclude={"attainment"})

    @model_validator(mode="after")
    def has_a_limit(self) -> "Goodput":
        if not self.limits:
            raise ValueError("goodput has no limit; give ttft_sec, tpot_sec or latency_sec")
        return self


class Workload(Record):
    """`num_requests` synthetic requests: a batch that is sent at once; or an open loop if it has a
    `request_rate`: they arrive one by one, whether or not the engine keeps up."""

    name: str
    prompt_tokens: int = Field(gt=0)
    output_tokens: int = Field(gt=0)
    num_requests: int = Field(gt=0)
    mixed: bool = False
    """Draw each request's lengths uniformly from 1 to the given ones."""
    request_rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Requests per second; this name and the next two are vLLM's. A suite may list several rates:
    see `one_per_rate`."""
    burstiness: float = Field(default=1.0, gt=0)
    """Shape of the gamma distribution of the times between arrivals: 1 is a Poisson process, less
    comes in bursts, inf is regular."""
    goodput: Goodput | None = None
    repetitions: int = Field(default=4, ge=1)
    """How often an open loop runs, each time with other arrivals. Its intervals are over
    repetitions, since requests that wait in one queue are not independent."""
    warm_up: float = Field(default=0.1, ge=0, lt=0.5)
    """Share of an open loop's requests, the first ones, that figures leave out."""
    cool_down: float = Field(default=0.1, ge=0, lt=0.5)
    """The same of the last ones."""
    cut_from: str = ""
    """The name that the suite gave it, if it was cut to fit a context."""

    @property
    def asked_as(self) -> str:
        """The suite's name for it."""
        return self.cut_from or self.name

    @property
    def series(self) -> str:
        """The name that it shares with the same load at other rates."""
        return self.asked_as.rpartition("@")[0] or self.asked_as

    @model_validator(mode="after")
    def has_a_rate_if_it_needs_one(self) -> "Workload":
        if self.request_rate is None and (self.goodput or self.burstiness != 1.0):
            raise ValueError("goodput and burstiness need a request_rate")
        return self

    @property
    def measured(self) -> range:
        """Positions of an open loop's requests between warm-up and cool-down."""
        first = math.ceil(self.warm_up * self.num_requests)
        return range(first, self.num_requests - math.ceil(self.cool_down * self.num_requests))

    def cut_to(self, max_model_len: int) -> "Workload":
        """The workload, cut so that prompt and output fit the context; its name says so.

        The longer of the two is cut first; if the other exceeds half of the context, both get half.
        """
        prompt, output = self.prompt_tokens, self.output_tokens
        if prompt + output <= max_model_len:
            return self
        shorter = max(1, min(prompt, output, max_model_len // 2))
        longer = max(1, max_model_len - shorter)
        prompt, output = (longer, shorter) if prompt >= output else (shorter, longer)
        changes = {
            "name": f"{self.asked_as}{CUT}{prompt}/{output})",
            "prompt_tokens": prompt,
            "output_tokens": output,
            "cut_from": self.asked_as,
        }
        return self.model_copy(update=changes)


def asked_name(name: str) -> str:
    """The suite's name of a workload that may have been cut."""
    return name.partition(CUT)[0]


def one_per_rate(entries: Any) -> Any:
    """A suite's workloads, with one for each rate where `request_rate` lists several: `serve` at
    2 and 4 requests/s becomes `serve@2/s` and `serve@4/s`."""
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        return entries
    return [one for entry in entries for one in _at_each_rate(entry)]


def _at_each_rate(entry: Any) -> list[Any]:
    rates = entry.get("request_rate") if isinstance(entry, Mapping) else None
    if not isinstance(rates, list | tuple):
        return [entry]
    return [
        {**entry, "name": f"{entry.get('name')}@{rate}/s", "request_rate": rate} for rate in rates
    ]
