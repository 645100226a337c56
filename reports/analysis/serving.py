"""Open loops as a run recorded them: the same load at several rates."""

from collections.abc import Sequence
from dataclasses import replace

from melange.harness.measure.open_loop import ATTAINMENT, FALLS_BEHIND, QUEUE_GROWTH
from melange.harness.records import Workload
from melange.reports.analysis.run import Reading, Run


def rate_ladders(run: Run) -> list[list[Workload]]:
    """Groups of open loops that differ only in their rate, sorted by it."""
    found: dict[Workload, list[Workload]] = {}
    for load in run.workloads.values():
        if load is not None and load.request_rate is not None:
            apart = {"name": load.series, "cut_from": "", "request_rate": 1.0}
            found.setdefault(load.model_copy(update=apart), []).append(load)
    return [sorted(steps, key=_rate) for steps in found.values()]


def highest_rate(run: Run, candidate: str, ladder: Sequence[Workload]) -> Reading:
    """The highest stated rate that meets the objective, as all lower ones do; its interval is that
    of the attainment, rounded to the stated rates."""
    shares = [run.read(candidate, ATTAINMENT.name, workload=load.name) for load in ladder]
    if all(one.value is None for one in shares):
        return shares[0]
    wanted = ladder[0].goodput.attainment if ladder[0].goodput else 1.0
    kept = [
        one if keeps_up(run, candidate, load) else replace(one, value=0.0, low=0.0, high=0.0)
        for one, load in zip(shares, ladder, strict=True)
    ]
    low, rate, high = (
        _last_that_meets(ladder, shares, wanted)
        for shares in (
            [None if one.value is None else one.bounds[0] for one in kept],
            [one.value for one in kept],
            [None if one.value is None else one.bounds[1] for one in kept],
        )
    )
    if rate is None:
        return Reading(
            outcome="unmet", reason=f"no stated rate is met by {wanted:.0%} of its requests"
        )
    top = "" if rate < _rate(ladder[-1]) else "the highest rate that was tried"
    return Reading(value=rate, low=low or 0.0, high=high, outcome="completed", reason=top)


def keeps_up(run: Run, candidate: str, load: Workload) -> bool:
    """False also where that is not known."""
    growth = run.read(candidate, QUEUE_GROWTH.name, workload=load.name)
    return growth.value is not None and growth.value <= FALLS_BEHIND


def _last_that_meets(
    ladder: Sequence[Workload], shares: Sequence[float | None], wanted: float
) -> float | None:
    """The last rate before the first that fails; None if the first one does."""
    last = None
    for load, met in zip(ladder, shares, strict=True):
        if met is None or met < wanted:
            break
        last = load.request_rate
    return last


def _rate(load: Workload) -> float:
    assert load.request_rate is not None, load.name
    return load.request_rate
