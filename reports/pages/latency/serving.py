"""Requests that arrive at stated rates: latency and goodput by rate, and the highest rate that
meets the objective."""

from typing import NamedTuple

from melange.harness.measure.latency import LATENCY, TPOT, TTFT
from melange.harness.measure.open_loop import ATTAINMENT, GOODPUT, ITL, QUEUE_GROWTH
from melange.harness.measure.throughput import REQUESTS
from melange.harness.records import Workload
from melange.reports.analysis.run import Reading, Run
from melange.reports.analysis.serving import highest_rate, keeps_up, rate_ladders
from melange.reports.metrics import describe
from melange.reports.page import Block, Column, Section, Table
from melange.reports.pages.latency.ladder import Axis, figures
from melange.reports.tables.cost_columns import workload_words
from melange.reports.units import Scale, scale_for, unit_kind
from melange.reports.view import RunView

AXIS = Axis(lambda load: load.request_rate or 0.0, "rate", "request_rate", "Requests per second")
FIGURES = (f"{TTFT.name}_p90", f"{LATENCY.name}_p90", GOODPUT.name)
PERCENTILES = [
    f"{one.name}{tail}" for one in (TTFT, TPOT, ITL, LATENCY) for tail in ("", "_p90", "_p99")
]
PER_SEC = Scale(label="requests/s")
WORDS = (
    "Requests arrive one by one, whether or not the engine keeps up, and latency counts from when "
    "a request was due. The first and last requests are left out. Each line is a candidate, each "
    "panel a family; the axis of rates is logarithmic, bars are 95 % intervals over repetitions. A "
    "p99 has no interval."
)


class AtRate(NamedTuple):
    """A row: a candidate at one rate."""

    candidate: str
    load: Workload


def curves(view: RunView, subject: str) -> Block | None:
    return figures(view, rate_ladders(view.run), FIGURES, AXIS, WORDS)


def tables(view: RunView, subject: str) -> Block | None:
    ladders = rate_ladders(view.run)
    if not ladders:
        return None
    shown, files = [], {}
    for ladder in ladders:
        first = ladder[0]
        stem = f"serving-{first.series}-{first.prompt_tokens}-{first.output_tokens}"
        found = {"rates": _by_rate(view, ladder)}
        if first.goodput is not None:
            found = {"highest-rate": _highest(view, ladder)} | found
        for name, table in found.items():
            shown.append((f"{_caption(view.run, ladder)}: {name.replace('-', ' ')}", table))
            files[f"{stem}-{name}".replace("/", "-").replace(" ", "-")] = table
    return Block(data={"shown": shown, "note": _note(ladders)}, tables=files)


def _caption(run: Run, ladder: list[Workload]) -> str:
    return f"{ladder[0].series}, {workload_words(run, ladder[0].name).partition(', ')[2]}"


def _note(ladders: list[list[Workload]]) -> str:
    said = []
    for first in (ladder[0] for ladder in ladders if ladder[0].goodput):
        assert first.goodput is not None
        limits = " and ".join(
            f"{describe(name).label} of at most {scale_for('sec', [limit]).write(limit)} "
            f"{scale_for('sec', [limit]).label}"
            for name, limit in first.goodput.limits.items()
        )
        said.append(
            f"{first.series}: a request counts with {limits}; a rate is met if "
            f"{first.goodput.attainment:.0%} of its requests count, the engine keeps up, and every "
            "lower rate is met. Its interval is that of the attainment, to the next stated rate."
        )
    return " ".join(said)


def _highest(view: RunView, ladder: list[Workload]) -> Table:
    run = view.run

    def at(load: Workload) -> Column:
        def attained(candidate: str) -> Reading:
            return run.read(candidate, ATTAINMENT.name, workload=load.name)

        name = f"{ATTAINMENT.name}_at_{load.request_rate:g}"
        return Column(name, attained, f"Met at {load.request_rate:g}/s", _scale(ATTAINMENT.name))

    return Table(
        columns=[
            Column("candidate", lambda one: one, "Candidate"),
            Column("family", lambda one: run.families[one], "Family"),
            Column("highest_rate", lambda one: highest_rate(run, one, ladder), "Highest rate",
                   PER_SEC, "highest stated rate that meets the objective"),
            *map(at, ladder),
        ],
        rows=list(run.families),
    )  # fmt: skip


def _by_rate(view: RunView, ladder: list[Workload]) -> Table:
    run = view.run
    rows = [AtRate(candidate, load) for candidate in run.families for load in ladder]
    rates = [REQUESTS.name, *([GOODPUT.name] if ladder[0].goodput else [])]
    return Table(
        columns=[
            Column("candidate", lambda row: row.candidate, "Candidate"),
            Column("family", lambda row: run.families[row.candidate], "Family"),
            Column("request_rate", lambda row: f"{row.load.request_rate:g}/s", "Rate"),
            Column("keeps_up", lambda row: _keeping_up(run, row), "Keeps up"),
            *(_column(run, metric, rows) for metric in (*rates, *PERCENTILES)),
        ],
        rows=rows,
    )


def _keeping_up(run: Run, row: AtRate) -> str:
    growth = run.read(row.candidate, QUEUE_GROWTH.name, workload=row.load.name)
    if growth.value is None:
        return "not known"
    if keeps_up(run, row.candidate, row.load):
        return "yes"
    return f"no: queue grows by {growth.value:.2f} a request"


def _column(run: Run, metric: str, rows: list[AtRate]) -> Column:
    def read(row: AtRate) -> Reading:
        return run.read(row.candidate, metric, workload=row.load.name)

    known = describe(metric)
    return Column(metric, read, known.label, _scale(metric, [read(row) for row in rows]),
                  known.meaning)  # fmt: skip


def _scale(metric: str, readings: list[Reading] | None = None) -> Scale:
    return scale_for(unit_kind(metric, ""), [one.value for one in readings or []])


CURVES = Section("Requests at a rate", "sections/figures.html", curves)
TABLES = Section("Goodput and the highest rate", "sections/table.html", tables)
