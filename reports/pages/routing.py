"""How mixtures route tokens: each expert's share, and repetition on consecutive tokens."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from melange.reports.analysis.run import Reading, Run, reading
from melange.reports.page import Block, Column, Page, Section, Table
from melange.reports.units import PERCENT
from melange.reports.view import RunView

SHARE, FIRST, ANY = "routing_share", "routing_repetition", "routing_repetition_any"
REPETITION = {FIRST: "first choice", ANY: "any choice in common"}
CHANCE = {FIRST: "routing_chance", ANY: "routing_chance_any"}
NOTE = (
    "Of each document; means over a domain’s documents, whose number is n. "
    "Layers and experts are counted from 1."
)


class Part(NamedTuple):
    """A number for one part of a mixture, from a metric's name: NAME/domain/layer[/expert]."""

    candidate: str
    metric: str
    domain: str
    layer: int
    """From 1, like `expert`."""
    expert: int | None
    found: Reading


COLUMNS = (
    Column("candidate", lambda part: part.candidate),
    Column("metric", lambda part: part.metric),
    Column("domain", lambda part: part.domain),
    Column("layer", lambda part: part.layer),
    Column("expert", lambda part: part.expert),
    Column("share", lambda part: part.found, scale=PERCENT),
)


def block(view: RunView, subject: str) -> Block | None:
    found = {name: list(_parts(view.run, name)) for name in view.run.families}
    parts = [part for own in found.values() for part in own]
    if not parts:
        return None
    shown = [table for name, own in found.items() if own for table in _tables(view.run, name, own)]
    return Block(data={"shown": shown, "note": NOTE}, tables={"routing": Table(COLUMNS, parts)})


def _parts(run: Run, candidate: str) -> Iterator[Part]:
    for line in run.by_candidate[candidate]:
        name, *place = line.metric.split("/")
        if name in (SHARE, FIRST, ANY) and len(place) >= 2 and line.value is not None:
            domain, layer, *expert = place
            number = int(expert[0]) + 1 if expert else None
            yield Part(candidate, name, domain, int(layer) + 1, number, reading(line))


def _tables(run: Run, candidate: str, parts: Sequence[Part]) -> Iterator[tuple[str, Table]]:
    for metric, choice in REPETITION.items():
        own = [part for part in parts if part.metric == metric]
        caption = f"{candidate}: consecutive tokens with the same expert, by {choice}"
        yield caption + _chance(run, candidate, metric), _by_domain(own, "Layer", _layer)
    shares = [part for part in parts if part.metric == SHARE]
    for layer in sorted({part.layer for part in shares}):
        own = [part for part in shares if part.layer == layer]
        caption = f"{candidate}, layer {layer}: share of each expert in what tokens choose"
        yield caption, _by_domain(own, "Expert", _expert)


def _layer(part: Part) -> int:
    return part.layer


def _expert(part: Part) -> int:
    return part.expert or 0


def _chance(run: Run, candidate: str, metric: str) -> str:
    lines = run.by_candidate[candidate]
    found = [one.value for one in lines if one.metric == CHANCE[metric] and one.value is not None]
    return f"; {PERCENT.write(found[0])} % by chance" if found else ""


def _by_domain(parts: Sequence[Part], what: str, place: Callable[[Part], int]) -> Table:
    """One row per domain, one column per layer or expert."""
    found = {(part.domain, place(part)): part.found for part in parts}

    def column(at: int) -> Column:
        def value(domain: str) -> Reading:
            return found.get((domain, at), Reading())

        return Column(f"{what.lower()}_{at}", value, label=f"{what} {at}", scale=PERCENT)

    places = sorted({place(part) for part in parts})
    domain = Column("domain", str, label="Domain")
    return Table((domain, *map(column, places)), list(dict.fromkeys(one.domain for one in parts)))


PAGE = Page(
    name="routing",
    title="Routing",
    order=50,
    sections=(Section("How tokens are routed", "sections/table.html", block),),
)
