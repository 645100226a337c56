"""The leaderboard's columns of speed, memory, size and build cost."""

from collections.abc import Sequence
from dataclasses import replace

from melange.harness.measure.needs import NEED
from melange.harness.workloads import asked_name
from melange.reports.analysis.run import Reading, Run
from melange.reports.metrics import describe
from melange.reports.tables.board_column import BoardCell, BoardColumn
from melange.reports.units import RATIO, plural, scale_for, unit_kind

DECODE_WORKLOADS = ("8/512", "mixed", "8/8")
PREFILL_WORKLOADS = ("512/8", "mixed", "8/8")
LATENCY_WORKLOADS = ("mixed", "8/512", "8/8")


def measured_workload(run: Run, metric: str, preferred: Sequence[str]) -> str:
    """The first preferred workload with a value, else any with one, else the first preferred."""
    done = run.timed.get(metric, [])
    wanted = [w for name in preferred for w in done if asked_name(w) == name]
    return next(iter((*wanted, *done)), preferred[0])


def cost_columns(run: Run) -> list[BoardColumn]:
    """Speed, memory, size and build cost, absolute and relative to the reference."""
    decoding = measured_workload(run, "decode_tokens_per_sec", DECODE_WORKLOADS)
    prefill = measured_workload(run, "prefill_tokens_per_sec", PREFILL_WORKLOADS)
    latency = measured_workload(run, "latency_sec", LATENCY_WORKLOADS)
    return [
        _cost_column(run, "decode_tokens_per_sec", decoding),
        _cost_column(run, "relative_throughput", decoding),
        _cost_column(run, "prefill_tokens_per_sec", prefill),
        _cost_column(run, "latency_sec", latency),
        _memory_column(run),
        _relative_memory(run),
        _cost_column(run, "weights_bytes"),
        _cost_column(run, "kv_bytes_per_token"),
        _cost_column(run, "total_params", group="size"),
        _cost_column(run, "active_params", group="size"),
        _cost_column(run, run.headline("build"), group="size"),
    ]


def _cost_column(
    run: Run, metric: str, workload: str | None = None, group: str = "memory"
) -> BoardColumn:
    cells = {c: BoardCell(reading=run.read(c, metric, workload=workload)) for c in run.families}
    known = describe(metric)
    values = [c.reading.value for c in cells.values()]
    return BoardColumn(
        key=metric,
        label=known.label + (f" {workload}" if workload else ""),
        group="speed" if workload else group,
        scale=scale_for(unit_kind(metric, ""), values),
        cells=cells,
        hint=known.meaning + (f"; {workload_words(run, workload)}" if workload else ""),
        higher_is_better=workload is not None and metric != "latency_sec",
    )


def _memory_column(run: Run) -> BoardColumn:
    """What candidates need, and the load that it is stated at."""
    column = _cost_column(run, run.headline("memory"))
    if column.key != NEED.name or run.load is None:
        return column
    return replace(column, hint=f"{column.hint}; {load_words(run)}")


def load_words(run: Run) -> str:
    assert run.load is not None
    return f"the load is {run.load.name}, {workload_words(run, run.load.name)}"


def _relative_memory(run: Run) -> BoardColumn:
    reference, metric = run.reference, run.headline("memory")
    found = {c: _ratio_to(run, c, reference, metric) for c in run.families}
    return BoardColumn(
        key="relative_memory",
        label="Relative memory",
        group="memory",
        scale=RATIO,
        cells={c: BoardCell(reading=reading) for c, reading in found.items()},
        hint=f"{describe(metric).label.lower()} as a ratio to that of "
        f"{reference or 'the reference'}",
        higher_is_better=False,
    )


def _ratio_to(run: Run, candidate: str, reference: str | None, metric: str) -> Reading:
    """Without an interval, because memory is measured once."""
    if reference is None:
        return Reading(reason="the run has no reference candidate")
    own, whole = run.read(candidate, metric), run.read(reference, metric)
    if own.value is None:
        return own
    if whole.outcome == "pending":
        return whole
    if not whole.value:
        return Reading(reason=f"of the reference {reference}: {whole.reason or 'it is 0'}")
    return Reading(value=own.value / whole.value, outcome="completed", reason="")


def workload_words(run: Run, name: str) -> str:
    """A workload in words, after scaling to the context length."""
    load = run.workloads.get(name)
    if load is None:
        return f"workload {name}"
    upto = "up to " if load.mixed else ""
    when = f"at {load.request_rate:g} per second" if load.request_rate else "at once"
    return (
        f"{plural(load.num_requests, 'request')} {when}, {upto}{load.prompt_tokens} prompt "
        f"and {upto}{load.output_tokens} output tokens each"
    )
