"""What candidates need in memory, as records. What runs the same kernels is weighed once."""

from collections.abc import Callable, Hashable, Mapping, Sequence

from melange.harness.executors.jobs import Failed, Weigh, Weighed
from melange.harness.measure.needs import ACTIVATIONS, KV_LOAD, NEED, NEEDS, kv_load_bytes
from melange.harness.measure.speed import Reading
from melange.harness.measure.summaries import Told, summarize
from melange.harness.prepare import Part, Prepared, weights_bytes
from melange.harness.records import Measurement, Workload

Activations = Mapping[Hashable, Reading]
"""Bytes by kernels, or why they are not known."""


def weigh(
    members: Sequence[Prepared],
    workloads: Sequence[Workload],
    seed: int,
    ask: Callable[[Weigh], Weighed | Failed],
) -> dict[Hashable, Reading]:
    """Activations of every part of the members.

    The values of weights change nothing in what is allocated, so one part stands for all that run
    the same kernels; the next one is asked if it breaks.
    """
    found: dict[Hashable, Reading] = {}
    for part in (part for member in members for part in member.parts):
        if isinstance(found.get(part.kernels, ""), str):
            cut = [one.cut_to(part.shape.max_model_len) for one in workloads]
            reply = ask(Weigh(part.load, part.shape, cut, seed))
            found[part.kernels] = (
                reply.reason if isinstance(reply, Failed) else reply.activation_bytes
            )
    return found


def need_records(
    member: Prepared, workloads: Sequence[Workload], activations: Activations
) -> list[Measurement]:
    told = Told(member.candidate.name, member.candidate.family)
    return summarize(told, NEEDS, [needs(member, workloads, activations)] if workloads else [])


def needs(
    member: Prepared, workloads: Sequence[Workload], activations: Activations
) -> dict[str, Reading]:
    """By metric. Weights are of all parts, the rest is of the largest: parts are asked in turn."""
    kv_bytes = max(_kv_bytes(part, workloads) for part in member.parts)
    found = [activations[part.kernels] for part in member.parts]
    known = [one for one in found if isinstance(one, int | float)]
    if len(known) < len(found):
        why = next(one for one in found if isinstance(one, str))
        unknown = f"its activations could not be counted: {why}"
        return {KV_LOAD.name: kv_bytes, ACTIVATIONS.name: unknown, NEED.name: unknown}
    return {
        KV_LOAD.name: kv_bytes,
        ACTIVATIONS.name: max(known),
        NEED.name: weights_bytes(member) + kv_bytes + max(known),
    }


def _kv_bytes(part: Part, workloads: Sequence[Workload]) -> int:
    per_token = sum(info.kv_bytes_per_token for info in part.infos)
    return kv_load_bytes(per_token, part.shape.max_model_len, workloads)
