"""Every metric of speed, memory and cost, declared once. A task's metrics are lm-eval's."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Group = Literal["speed", "latency", "energy", "memory", "size", "build", "machine"]
Scope = Literal["workload", "serving", "checkpoints"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    name: str
    unit: str
    label: str
    """On a page."""
    meaning: str
    group: Group
    scope: Scope
    """A workload, all workloads of a process together, or the checkpoints alone."""
    higher_is_better: bool = False
    headline: bool = False
    """The one of its group that boards, fronts and summaries show."""
    tolerance: float | None = None
    """A comparison calls it worse where it has grown by more than this factor; None: it judges
    the metric by its rounds, or not at all."""
    tracked: bool = False
    """Over nights."""
    bound: str = ""
    """What the chooser calls it; empty where it offers no bound on it."""
    axis: str = ""
    """Title of its plot against accuracy; empty where there is none."""
    absent: str = ""
    """Why a candidate may lack it with nothing wrong."""


PEAK_TOLERANCE = 1.1
"""A process that is handed its memory in another order keeps a few per cent more of it."""

METRICS = (
    Metric(
        name="prefill_tokens_per_sec", unit="tokens/s", label="Prefill", group="speed",
        scope="workload", higher_is_better=True, tracked=True,
        meaning="prompt tokens read per second",
    ),
    Metric(
        name="decode_tokens_per_sec", unit="tokens/s", label="Decode", group="speed",
        scope="workload", higher_is_better=True, headline=True, tracked=True,
        bound="Decoding speed", axis="Accuracy against decoding speed",
        meaning="tokens generated per second",
    ),
    Metric(
        name="total_tokens_per_sec", unit="tokens/s", label="Total", group="speed",
        scope="workload", higher_is_better=True, tracked=True,
        meaning="prompt and generated tokens per second",
    ),
    Metric(
        name="ttft_sec", unit="s", label="TTFT", group="latency", scope="workload", tracked=True,
        meaning="time to the first token, median",
    ),
    Metric(
        name="tpot_sec", unit="s", label="TPOT", group="latency", scope="workload",
        meaning="time per token after the first",
    ),
    Metric(
        name="latency_sec", unit="s", label="Latency", group="latency", scope="workload",
        headline=True, bound="Latency", meaning="a request from end to end, median",
    ),
    Metric(
        name="request_throughput", unit="requests/s", label="Requests", group="speed",
        scope="workload", higher_is_better=True, meaning="requests finished per second",
    ),
    Metric(
        name="relative_throughput", unit="ratio", label="Relative throughput", group="speed",
        scope="workload", higher_is_better=True, tracked=True,
        meaning="ratio to the reference candidate, measured in the same rounds",
    ),
    Metric(
        name="joules_per_token", unit="J/token", label="Energy", group="energy",
        scope="workload", headline=True, absent="energy is read from NVML, which knows no CPU",
        meaning="of the device, for each token that was generated",
    ),
    Metric(
        name="peak_memory_bytes", unit="bytes", label="Peak memory", group="memory",
        scope="serving", headline=True, tolerance=PEAK_TOLERANCE, tracked=True,
        bound="Peak memory", axis="Accuracy against peak memory",
        meaning="highest use while serving",
    ),
    Metric(
        name="device_memory_bytes", unit="bytes", label="Device memory", group="memory",
        scope="serving", tolerance=PEAK_TOLERANCE, tracked=True,
        meaning="what the device had in use, the engine's reserve included",
    ),
    Metric(
        name="weights_bytes", unit="bytes", label="Weights", group="memory", scope="checkpoints",
        tolerance=1.0, tracked=True, bound="Weights",
        axis="Accuracy against the weights’ size", meaning="parameters as loaded",
    ),
    Metric(
        name="kv_bytes_per_token", unit="bytes", label="KV per token", group="memory",
        scope="checkpoints", tolerance=1.0, meaning="key-value cache of one token",
    ),
    Metric(
        name="kv_pool_bytes", unit="bytes", label="KV pool", group="memory", scope="serving",
        meaning="what the engine set aside for keys and values",
    ),
    Metric(
        name="activation_bytes", unit="bytes", label="Activations", group="memory",
        scope="serving", meaning="highest use beside weights and KV pool",
    ),
    Metric(
        name="total_params", unit="parameters", label="Total params", group="size",
        scope="checkpoints", meaning="all parameters that are held",
    ),
    Metric(
        name="active_params", unit="parameters", label="Active params", group="size",
        scope="checkpoints", headline=True, axis="Accuracy against active parameters",
        meaning="parameters that one token passes",
    ),
    Metric(
        name="build_sec", unit="s", label="Build", group="build", scope="checkpoints",
        headline=True, tracked=True, bound="Build time", axis="Accuracy against build cost",
        absent="nothing was built: it is served from checkpoints as they are",
        meaning="making the candidate from its inputs",
    ),
    Metric(
        name="yardstick_sec", unit="s", label="Yardstick", group="machine", scope="serving",
        meaning="fixed work outside the engine: the machine's own speed",
    ),
)  # fmt: skip
BY_NAME = {one.name: one for one in METRICS}


def of_group(group: Group) -> Iterator[Metric]:
    return (one for one in METRICS if one.group == group)


def headline(group: Group) -> str:
    """The name of the group's metric that boards show."""
    return next(one.name for one in of_group(group) if one.headline)
