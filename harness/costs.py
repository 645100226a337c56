"""What a candidate costs: records of its checkpoints, its memory and its speed."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from melange.harness.executors.jobs import Timed
from melange.harness.measure.calibration import CALIBRATION
from melange.harness.measure.collectors import of_scope
from melange.harness.measure.energy import JOULES
from melange.harness.measure.latency import LATENCY, TPOT, TTFT
from melange.harness.measure.memory import alone_throughout
from melange.harness.measure.metric import Metric, Scope
from melange.harness.measure.sizes import SIZES, sizes
from melange.harness.measure.speed import Reading
from melange.harness.measure.summaries import Told, summarize
from melange.harness.measure.throughput import DECODE, PREFILL, RELATIVE, TOTAL
from melange.harness.prepare import Prepared
from melange.harness.records import Measurement, Outcome
from melange.harness.round_line import RoundLine
from melange.harness.stats import log_throughput_error


def cost_records(
    member: Prepared,
    timed: Sequence[Timed],
    reference: Sequence[Timed | None],
    num_candidates: int | None = None,
) -> list[Measurement]:
    """All records of a candidate except those of tasks.

    `timed`: its rounds, each on some or all workloads. `reference`: the reference candidate's
    speeds beside each; without one for each, no ratio is recorded. `num_candidates`: how many were
    timed in turn for them.
    """
    own = Told(member.candidate.name, member.candidate.family)
    told = own._replace(num_candidates=num_candidates)
    complete = len(reference) == len(timed) and None not in reference
    comparable = reference if complete else [None] * len(timed)
    records = summarize(own, SIZES, [sizes(member)])
    for name in dict.fromkeys(name for one in timed for name in one.rounds):
        pairs = zip(timed, comparable, strict=True)
        readings = [_readings(name, *both) for both in pairs if name in both[0].rounds]
        found = summarize(told._replace(workload=name), _metrics("workload"), readings)
        # Completed lines come first: after a skipped one, they would supersede it.
        records += sorted(found, key=_is_skipped)
    readings_R = alone_throughout([one.readings for one in timed])
    found = summarize(told, _metrics("serving"), readings_R)
    # A completed line comes last: the last line says whether the cell is done.
    return records + sorted(found, key=_is_skipped, reverse=True)


def _metrics(scope: Scope) -> list[Metric]:
    return [metric for collector in of_scope(scope) for metric in collector.metrics]


def _readings(workload: str, timed: Timed, reference: Timed | None) -> Mapping[str, Reading]:
    mine = timed.rounds[workload].readings
    if reference is None:
        return mine
    if workload not in reference.rounds:
        others = ", ".join(reference.rounds)
        return {**mine, RELATIVE.name: f"the reference ran other lengths: {others}"}
    pair = [one.rounds[workload].readings[TOTAL.name] for one in (timed, reference)]
    return {**mine, RELATIVE.name: pair}  # type: ignore[dict-item]


def _is_skipped(record: Measurement) -> bool:
    return record.outcome is not Outcome.COMPLETED


def speed_error(rounds: Mapping[str, Sequence[Timed]]) -> float:
    """Relative standard error of speeds, see `log_throughput_error`. NaN without candidates.

    `rounds`: candidate -> what was timed, the same number of rounds for each.
    """
    log_throughput_CWR = np.array(
        [
            [[_log_total(one, name) for one in timed] for name in timed[0].rounds]
            for timed in rounds.values()
        ]
    )
    return log_throughput_error(log_throughput_CWR)


def _log_total(timed: Timed, workload: str) -> float:
    total: Any = timed.rounds[workload].readings[TOTAL.name]
    return math.log(total)


def round_line(timed: Timed, workload: str, reference: Timed | None, **said: Any) -> RoundLine:
    """`said`: candidate, round, and what else only the caller knows of the line."""
    mine = timed.rounds[workload]
    beside = reference.rounds.get(workload) if reference else None
    # A string is the reason why there is no number.
    known: dict[str, Any] = {
        name: value
        for name, value in {**timed.readings, **mine.readings}.items()
        if not isinstance(value, str)
    }
    return RoundLine(
        **said,
        workload=workload,
        started=mine.started,
        prompt_tokens=mine.prompt_tokens,
        output_tokens=mine.output_tokens,
        wall_sec=mine.wall_sec,
        prefill_tokens_per_sec=known[PREFILL.name],
        decode_tokens_per_sec=known.get(DECODE.name),
        ttft_sec=_to_microseconds(known[TTFT.name]),
        latency_sec=_to_microseconds(known[LATENCY.name]),
        tpot_sec=_to_microseconds(known[TPOT.name]),
        reference_wall_sec=beside.wall_sec if beside else None,
        calibration_sec=known.get(CALIBRATION.name),
        energy_joules=known.get(JOULES),
    )


def _to_microseconds(seconds: Sequence[float]) -> tuple[float, ...]:
    """More digits are noise, and half of a nightly's file."""
    return tuple(round(one, 6) for one in seconds)
