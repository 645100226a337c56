"""How mixtures route their tokens: who gets them, and how often the same expert twice in a row."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from melange.reports.load import Reading, reading
from melange.reports.report import Report
from melange.reports.sections import Block
from melange.reports.units import PERCENT

SHARE, FIRST, ANY = "routing_share", "routing_repetition", "routing_repetition_any"
CHANCE = {FIRST: "routing_chance", ANY: "routing_chance_any"}
LABELS = {FIRST: "first choice", ANY: "any choice in common"}


class Part(NamedTuple):
    """A number about one part of a mixture, as its metric names it: NAME/domain/layer[/expert]."""

    metric: str
    domain: str
    layer: int
    expert: int | None
    found: Reading


class Table(NamedTuple):
    caption: str
    columns: list[str]
    rows: list[tuple[str, list[Reading]]]
    """A domain, and a number for each column."""


class Routing:
    page = "routing"
    order = 10
    title = "How tokens are routed"
    template = "sections/routing.html"

    def block(self, report: Report, subject: str) -> Block | None:
        parts = {name: list(_parts(report, name)) for name in report.run.families}
        parts = {name: found for name, found in parts.items() if found}
        if not parts:
            return None
        shown = [
            {
                "candidate": name,
                "look": report.look(name),
                "repetition": [_repetition(report, name, found, metric) for metric in LABELS],
                "shares": list(_shares(found)),
            }
            for name, found in parts.items()
        ]
        return Block(
            data={"shown": shown, "scale": PERCENT}, tables={"routing": _frame(report, parts)}
        )


def _parts(report: Report, candidate: str) -> Iterator[Part]:
    for line in report.run.by_candidate[candidate]:
        name, *place = line.metric.split("/")
        if name in (SHARE, FIRST, ANY) and len(place) >= 2 and line.value is not None:
            domain, layer, *expert = place
            number = int(expert[0]) if expert else None
            yield Part(name, domain, int(layer), number, reading(line))


def _repetition(report: Report, candidate: str, parts: list[Part], metric: str) -> Table:
    own = {(one.domain, one.layer): one.found for one in parts if one.metric == metric}
    layers = sorted({layer for _, layer in own})
    chance = _chance(report, candidate, CHANCE[metric])
    return Table(
        f"Consecutive tokens with the same expert: {LABELS[metric]}{chance}",
        [f"Layer {layer + 1}" for layer in layers],
        [
            (domain, [own.get((domain, layer), Reading()) for layer in layers])
            for domain in dict.fromkeys(domain for domain, _ in own)
        ],
    )


def _chance(report: Report, candidate: str, metric: str) -> str:
    found = [one.value for one in report.run.by_candidate[candidate] if one.metric == metric]
    return f"; {PERCENT.write(found[0])} % by chance" if found else ""


def _shares(parts: list[Part]) -> Iterator[Table]:
    shares = {(p.layer, p.domain, p.expert): p.found for p in parts if p.metric == SHARE}
    experts = sorted({expert for _, _, expert in shares if expert is not None})
    for layer in sorted({layer for layer, _, _ in shares}):
        domains = dict.fromkeys(domain for own, domain, _ in shares if own == layer)
        yield Table(
            f"Layer {layer + 1}: share of each expert in what tokens choose",
            [f"Expert {expert + 1}" for expert in experts],
            [
                (domain, [shares.get((layer, domain, one), Reading()) for one in experts])
                for domain in domains
            ],
        )


def _frame(report: Report, parts: dict[str, list[Part]]) -> pd.DataFrame:
    rows: list[dict[str, Any]] = [
        {
            "candidate": name,
            "family": report.run.families[name],
            "metric": one.metric,
            "domain": one.domain,
            "layer": one.layer,
            "expert": one.expert,
            "value": one.found.value,
            "ci_low": one.found.low,
            "ci_high": one.found.high,
            "n": one.found.n,
        }
        for name, found in parts.items()
        for one in found
    ]
    return pd.DataFrame(rows)


SECTION = Routing()
