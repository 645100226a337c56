"""Memory of the device, and of the process that serves a candidate."""

import contextlib
from pathlib import Path
from typing import Any

import psutil

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""What clear_refs takes to forget the process's peak (man 5 proc)."""


def reset_peak(device: str) -> None:
    """Start a new peak, so that an earlier candidate's does not count."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return
    with contextlib.suppress(OSError):  # not permitted in some containers: the peak is the worker's
        CLEAR_REFS.write_text(RESET_PEAK)


def peak_bytes(device: str) -> int | None:
    """Bytes at the peak since the reset: resident set on a CPU, allocated by torch on a GPU.

    None where the system does not tell.
    """
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    peaks = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peaks[0]) * 1024 if peaks else None


def device_bytes_in_use(device: str) -> int | None:
    """Bytes that NVML says are in use on the first GPU, by every process; None on a CPU.

    vLLM preallocates its KV pool, so this says what must be free, not what a candidate needs.
    """
    return int(_first_gpu().used) if device == "cuda" else None


def total_bytes(device: str) -> int:
    """All that the device has: the first GPU's memory, or the machine's."""
    return int(_first_gpu().total if device == "cuda" else psutil.virtual_memory().total)


def _first_gpu() -> Any:
    import pynvml

    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0))
