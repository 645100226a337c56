"""Memory of the device, and of the process that serves a candidate.

What a number means depends on where the engine runs:

- on a CPU, bytes are the process's resident set: weights and what the kernels pack of them, the
  KV pool (which vLLM fills when it starts), some 0.8 GiB of libraries, and activations;
- on a GPU, bytes are what torch's allocator handed out: weights, KV pool, activations. A replayed
  CUDA graph works in memory that its capture kept, which is no allocation: there, activations are
  those of the steps that run outside graphs (long prompts), and of sampling.
"""

import contextlib
import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from melange.harness.measure.metric import Collector, Metric, Watched
from melange.harness.measure.nvml import first_gpu

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""Written to clear_refs, it resets the process's peak (man 5 proc)."""


PEAK_TOLERANCE = 1.1
"""If memory is allocated in another order, a process keeps a few per cent more of it."""
ACTIVATIONS_TOLERANCE = 1.5
"""Of a small number of pages: two runs of `jan2024` differed by up to 13 %."""
PEAK = Metric(
    name="peak_memory_bytes", unit="bytes", label="Peak memory", group="memory", scope="serving",
    summary="max", headline=True, tolerance=PEAK_TOLERANCE, tracked=True, bound="Peak memory",
    axis="Accuracy against peak memory", meaning="highest use while serving",
)  # fmt: skip
# In use on the first GPU by all processes, by NVML: what must be free, not what a candidate needs,
# since vLLM preallocates its KV pool.
DEVICE = Metric(
    name="device_memory_bytes", unit="bytes", label="Device memory", group="memory",
    scope="serving", summary="max", tolerance=PEAK_TOLERANCE, tracked=True,
    meaning="what the device had in use, the engine's reserve included",
)  # fmt: skip
KV_POOL = Metric(
    name="kv_pool_bytes", unit="bytes", label="KV pool", group="memory", scope="serving",
    summary="max", tolerance=PEAK_TOLERANCE,
    meaning="what the engine set aside for keys and values",
)  # fmt: skip
# The peak above what was in use when the round began (weights, pool, libraries), with the keys and
# values of members that a logits processor runs. The minimum over rounds, since what an engine
# allocates in its first rounds and keeps is not an activation.
ACTIVATIONS = Metric(
    name="activation_bytes", unit="bytes", label="Activations", group="memory", scope="serving",
    summary="min", tolerance=ACTIVATIONS_TOLERANCE,
    meaning="highest use beside weights and KV pool",
)  # fmt: skip

SERVED_IN_TURN = "its parts are served in turn: no process holds all of them"


@contextmanager
def watch(watched: Watched) -> Iterator[None]:
    """Resets the peak first, so that an earlier candidate's does not count."""
    standing = _forget_peak(watched.device)
    yield
    pool = watched.session.kv_pool_bytes
    if pool is None:
        watched.readings[PEAK.name] = SERVED_IN_TURN
        return
    watched.readings[KV_POOL.name] = pool
    if (peak := _peak(watched.device)) is not None:
        watched.readings[PEAK.name] = peak
        if standing is not None:
            watched.readings[ACTIVATIONS.name] = max(0, peak - standing)
    if watched.device == "cuda":
        watched.readings[DEVICE.name] = int(_gpu_memory().used)


COLLECTOR = Collector(metrics=(PEAK, DEVICE, KV_POOL, ACTIVATIONS), watch=watch)


def total_bytes(device: str) -> int:
    """Total memory of the first GPU, or of the machine."""
    return int(_gpu_memory().total if device == "cuda" else psutil.virtual_memory().total)


def _peak(device: str) -> int | None:
    """In bytes; None if the system does not tell."""
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    return _status_bytes("VmHWM")


def _forget_peak(device: str) -> int | None:
    """Reset the peak; returns the bytes in use, None in a container that does not allow it.

    Memory that earlier rounds freed is returned to the system first: it would hide as much of this
    round's.
    """
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    with contextlib.suppress(
        AttributeError
    ):  # only glibc retains freed memory, and has this function
        ctypes.CDLL(None).malloc_trim(0)
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
    except OSError:
        return None
    return _status_bytes("VmHWM")


def _status_bytes(name: str) -> int | None:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    values = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(values[0]) * 1024 if values else None


def _gpu_memory() -> Any:
    import pynvml

    return pynvml.nvmlDeviceGetMemoryInfo(first_gpu())
