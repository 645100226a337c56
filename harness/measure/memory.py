"""Memory of the device, and of the process that serves a candidate.

What a process holds depends on what it served before, so its peak is told only where it served that
candidate alone; what a candidate needs is in `needs`.

What a number means depends on where the engine runs:

- on a CPU, bytes are the process's resident set: weights and what the kernels pack of them, the
  KV pool (which vLLM fills when it starts), some 0.8 GiB of libraries, and activations;
- on a GPU, bytes are what torch's allocator handed out: weights, KV pool, activations.
"""

import contextlib
import ctypes
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from melange.harness.measure.metric import Collector, Metric, Watched
from melange.harness.measure.nvml import first_gpu
from melange.harness.measure.speed import Reading

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""Written to clear_refs, it resets the process's peak (man 5 proc)."""


PEAK_TOLERANCE = 1.1
"""If memory is allocated in another order, a process keeps a few per cent more of it."""
PEAK = Metric(
    name="peak_memory_bytes", unit="bytes", label="Peak memory", group="memory", scope="serving",
    summary="max", tolerance=PEAK_TOLERANCE, tracked=True, bound="Peak memory",
    axis="Accuracy against peak memory",
    meaning="highest use of its process while serving, libraries included",
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
    summary="max", tolerance=1.05, meaning="what the engine set aside for keys and values",
)  # fmt: skip

SERVED_IN_TURN = "its parts are served in turn: no process holds all of them"
SERVED_OTHERS = (
    "its process served other weights too and may hold what they left; "
    "see what the candidate needs, or run it alone"
)


@contextmanager
def watch(watched: Watched) -> Iterator[None]:
    """Resets the peak first, so that start and warm-up do not count."""
    _forget_peak(watched.device)
    yield
    pool = watched.session.kv_pool_bytes
    if pool is None:
        watched.readings[PEAK.name] = SERVED_IN_TURN
        return
    watched.readings[KV_POOL.name] = pool
    if (peak := _peak(watched.device)) is not None:
        watched.readings[PEAK.name] = peak
    if watched.device == "cuda":
        watched.readings[DEVICE.name] = int(_gpu_memory().used)


COLLECTOR = Collector(metrics=(PEAK, DEVICE, KV_POOL), watch=watch)


def attributed(readings: Mapping[str, Reading], *, alone: bool) -> dict[str, Reading]:
    """The readings, without a peak that other weights may have a part in.

    `alone`: whether the process has served this candidate and nothing else.
    """
    known = isinstance(readings.get(PEAK.name), int | float)
    return {**readings, PEAK.name: SERVED_OTHERS} if known and not alone else {**readings}


def alone_throughout(readings: Sequence[Mapping[str, Reading]]) -> list[Mapping[str, Reading]]:
    """By round; a peak that some round cannot tell is told by none."""
    reason = next((one[PEAK.name] for one in readings if isinstance(one.get(PEAK.name), str)), None)
    if reason is None:
        return list(readings)
    return [{**one, PEAK.name: reason} if PEAK.name in one else one for one in readings]


def total_bytes(device: str) -> int:
    """Total memory of the first GPU, or of the machine."""
    return int(_gpu_memory().total if device == "cuda" else psutil.virtual_memory().total)


def _peak(device: str) -> int | None:
    """In bytes; None if the system does not tell."""
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    return _status_bytes("VmHWM")


def _forget_peak(device: str) -> None:
    """Reset the peak, where the system allows it.

    Memory that earlier rounds freed is returned to the system first.
    """
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return
    with contextlib.suppress(
        AttributeError
    ):  # only glibc retains freed memory, and has this function
        ctypes.CDLL(None).malloc_trim(0)
    # A container may not allow it.
    with contextlib.suppress(OSError):
        CLEAR_REFS.write_text(RESET_PEAK)


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
