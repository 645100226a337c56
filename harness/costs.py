"""What a candidate costs: records of its checkpoints, its memory and its speed."""

import math
import statistics
from collections.abc import Mapping, Sequence
from operator import attrgetter

import numpy as np

from melange.harness.checkpoints.built import build_seconds
from melange.harness.executors.jobs import Timed
from melange.harness.measure.speed import Round, summarize
from melange.harness.metrics import BY_NAME, headline
from melange.harness.prepare import Prepared
from melange.harness.records import Candidate, Measurement, Outcome, RoundLine, Workload
from melange.harness.stats import pace_error

KNOWN_AT_ONCE = "no token is known before the last of its parts has answered: see Total"
SERVED_IN_TURN = "its parts are served in turn: no process holds all of them"


def cost_records(
    member: Prepared,
    workloads: Sequence[Workload],
    timed: Sequence[Timed],
    reference: Sequence[Timed],
) -> list[Measurement]:
    """All of a candidate's records but the tasks'.

    `reference` are the rounds of the reference candidate; without as many, there is no ratio.
    """
    comparable = reference if len(reference) == len(timed) else []
    records = missing_energy(member, timed) + static_records(member) + memory_records(member, timed)
    for workload in workloads:
        records += summarize(
            member.candidate.name,
            member.candidate.family,
            workload.name,
            _rounds(timed, workload),
            _rounds(comparable, workload),
        )
        if member.load.seats:
            decoding = _cost(member.candidate, headline("speed"), None, reason=KNOWN_AT_ONCE)
            records.append(decoding.model_copy(update={"workload": workload.name}))
    # A skipped record must not come last: the last one says whether the cell is done.
    yardstick_sec = statistics.median(one.yardstick_sec for one in timed)
    records.append(_cost(member.candidate, "yardstick_sec", yardstick_sec, n=len(timed)))
    return records


def speed_error(rounds: Mapping[str, Sequence[Timed]]) -> float:
    """How sure speeds are, as a share: see `pace_error`. NaN of no candidates.

    `rounds`: candidate -> what was timed, as often for each.
    """
    pace_CWR = np.array(
        [
            [
                [math.log(one.rounds[name].total_tokens_per_sec) for one in timed]
                for name in timed[0].rounds
            ]
            for timed in rounds.values()
        ]
    )
    return pace_error(pace_CWR)


def round_lines(
    member: Prepared, timed: Sequence[Timed], reference: Sequence[Timed]
) -> list[RoundLine]:
    """A line for each workload and round; `reference` as for `cost_records`."""
    comparable = reference if len(reference) == len(timed) else [None] * len(timed)
    return [
        _line(member.candidate.name, workload, number, one, beside)
        for number, (one, beside) in enumerate(zip(timed, comparable, strict=True))
        for workload in one.rounds
    ]


def _line(
    candidate: str, workload: str, number: int, timed: Timed, reference: Timed | None
) -> RoundLine:
    mine = timed.rounds[workload]
    return RoundLine(
        candidate=candidate,
        workload=workload,
        round=number,
        started=mine.started,
        prompt_tokens=mine.prompt_tokens,
        output_tokens=mine.output_tokens,
        wall_sec=mine.wall_sec,
        prefill_tokens_per_sec=mine.prefill_tokens_per_sec,
        decode_tokens_per_sec=mine.decode_tokens_per_sec,
        ttft_sec=_to_microseconds(mine.ttft_sec),
        latency_sec=_to_microseconds(mine.latency_sec),
        tpot_sec=_to_microseconds(mine.tpot_sec),
        reference_wall_sec=reference.rounds[workload].wall_sec if reference else None,
        yardstick_sec=timed.yardstick_sec,
        energy_joules=mine.energy_joules,
    )


def _to_microseconds(seconds: Sequence[float]) -> tuple[float, ...]:
    """More digits are noise, and half of a nightly's file."""
    return tuple(round(one, 6) for one in seconds)


def static_records(member: Prepared) -> list[Measurement]:
    """What follows from the checkpoints alone."""
    infos = member.infos
    built = None if member.load.seats else build_seconds(member.load.checkpoint)
    values = {
        "weights_bytes": sum(info.weights_bytes for info in infos),
        "kv_bytes_per_token": sum(info.kv_bytes_per_token for info in infos),
        "total_params": sum(info.num_parameters for info in infos),
        "active_params": sum(info.num_active_parameters for info in infos),
        **({"build_sec": built} if built is not None else {}),
    }
    return [_cost(member.candidate, metric, value) for metric, value in values.items()]


def missing_energy(member: Prepared, timed: Sequence[Timed]) -> list[Measurement]:
    """Why a GPU's rounds tell no energy. Of a CPU nobody expects it: a report says so once."""
    reasons = {one.no_energy for one in timed if one.no_energy}
    if member.shape.device == "cpu" or not reasons:
        return []
    why = "; ".join(sorted(reasons))
    return [_cost(member.candidate, headline("energy"), None, reason=why)]


def memory_records(member: Prepared, timed: Sequence[Timed]) -> list[Measurement]:
    """The highest of all rounds; what each means says harness.measure.memory.

    Of activations, the lowest: what an engine makes in its first rounds and keeps is none.
    """
    if member.load.seats:
        return [_cost(member.candidate, headline("memory"), None, reason=SERVED_IN_TURN)]
    footprints = [one.memory for one in timed]
    records = []
    for metric, read, of_rounds in (
        ("peak_memory_bytes", attrgetter("peak_bytes"), max),
        ("activation_bytes", attrgetter("activation_bytes"), min),
        ("kv_pool_bytes", attrgetter("kv_pool_bytes"), max),
        ("device_memory_bytes", attrgetter("device_bytes"), max),
    ):
        known = [value for one in footprints if (value := read(one)) is not None]
        if known:
            value = of_rounds(known)
            records.append(_cost(member.candidate, metric, value, n=len(known)))
    return records


def _cost(
    candidate: Candidate, metric: str, value: float | None, n: int | None = None, reason: str = ""
) -> Measurement:
    """`reason`: why there is no value."""
    declared = BY_NAME[metric]
    return Measurement(
        candidate=candidate.name,
        family=candidate.family,
        metric=metric,
        value=value,
        unit=declared.unit,
        n=n,
        higher_is_better=declared.higher_is_better,
        outcome=Outcome.SKIPPED if reason else Outcome.COMPLETED,
        reason=reason,
    )


def _rounds(timed: Sequence[Timed], workload: Workload) -> list[Round]:
    return [one.rounds[workload.name] for one in timed]
