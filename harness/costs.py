"""What a candidate costs: records of its checkpoints, its memory and its speed."""

import statistics
from collections.abc import Sequence

from harness.jobs import Timed
from harness.measure.speed import Round, summarize
from harness.prepare import Prepared
from harness.records import Candidate, Measurement, Workload


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
    records = static_records(member) + memory_records(member, timed)
    built = [one.build_sec for one in timed if one.build_sec is not None]
    if built:
        median = statistics.median(built)
        records.append(_cost(member.candidate, "build_sec", median, "s", n=len(built)))
    for workload in workloads:
        records += summarize(
            member.candidate.name,
            member.candidate.family,
            workload.name,
            _rounds(timed, workload),
            _rounds(comparable, workload),
        )
    return records


def static_records(member: Prepared) -> list[Measurement]:
    """What follows from the checkpoints alone."""
    infos = member.infos
    values: dict[str, tuple[float | None, str]] = {
        "weights_bytes": (sum(info.weights_bytes for info in infos), "bytes"),
        "kv_bytes_per_token": (sum(info.kv_bytes_per_token for info in infos), "bytes"),
        "total_params": (sum(info.num_parameters for info in infos), "parameters"),
        "active_params": (sum(info.num_active_parameters for info in infos), "parameters"),
        "build_sec": (member.build_sec, "s"),
    }
    return [
        _cost(member.candidate, metric, value, unit)
        for metric, (value, unit) in values.items()
        if value is not None
    ]


def memory_records(member: Prepared, timed: Sequence[Timed]) -> list[Measurement]:
    """The highest of all rounds."""
    records = []
    for metric, peaks in (
        ("peak_memory_bytes", [one.peak_bytes for one in timed]),
        ("device_memory_bytes", [one.device_bytes for one in timed]),
    ):
        known = [peak for peak in peaks if peak is not None]
        if known:
            records.append(_cost(member.candidate, metric, max(known), "bytes", n=len(known)))
    return records


def _cost(
    candidate: Candidate, metric: str, value: float, unit: str, n: int | None = None
) -> Measurement:
    return Measurement(
        candidate=candidate.name,
        family=candidate.family,
        metric=metric,
        value=value,
        unit=unit,
        n=n,
        higher_is_better=False,
    )


def _rounds(timed: Sequence[Timed], workload: Workload) -> list[Round]:
    return [one.rounds[workload.name] for one in timed]
