"""What a candidate needs: the weights of all its models, keys and values, and activations.

Not what a process shows: that holds libraries and what earlier candidates left, and on a GPU the
pool of keys and values, for which the engine takes whatever the weights leave.

The load is the workload with the most tokens in flight. A composite's parts are asked in turn, but
a deployment keeps all of them loaded: the weights are those of all, keys and values and activations
those of the largest part.
"""

from collections.abc import Sequence

from melange.harness.measure.metric import Metric
from melange.harness.measure.speed import tokens_in_flight
from melange.harness.records import Workload

NEED_TOLERANCE = 1.01
"""All parts are counted, none is sampled; a little for another order of allocations."""
NEED = Metric(
    name="needed_memory_bytes", unit="bytes", label="Memory needed", group="memory",
    scope="serving", summary="once", headline=True, tolerance=NEED_TOLERANCE, tracked=True,
    bound="Memory needed", axis="Accuracy against the memory needed",
    meaning="weights of all its models, keys and values at the load, and activations",
)  # fmt: skip
KV_LOAD = Metric(
    name="kv_load_bytes", unit="bytes", label="KV at the load", group="memory", scope="serving",
    summary="once", tolerance=1.0,
    meaning="keys and values of the workload with the most tokens in flight",
)  # fmt: skip
ACTIVATIONS = Metric(
    name="peak_activation_bytes", unit="bytes", label="Activations", group="memory",
    scope="serving", summary="once", tolerance=1.05,
    meaning="highest use of torch’s allocator while serving, beyond an engine at rest",
)  # fmt: skip
NEEDS = (NEED, KV_LOAD, ACTIVATIONS)


def heaviest(workloads: Sequence[Workload]) -> Workload | None:
    """The load that candidates' needs are stated at: the workload with the most tokens in flight;
    None without workloads."""
    return max(workloads, key=tokens_in_flight, default=None)


def kv_load_bytes(bytes_per_token: int, max_model_len: int, workloads: Sequence[Workload]) -> int:
    """Keys and values of the heaviest workload, cut to the context. An engine keeps them in whole
    blocks, so it reserves up to a block more for each request."""
    load = heaviest([one.cut_to(max_model_len) for one in workloads])
    return bytes_per_token * tokens_in_flight(load) if load else 0
