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
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from melange.harness.measure.nvml import first_gpu

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""What clear_refs takes to forget the process's peak (man 5 proc)."""


class Footprint(NamedTuple):
    """Bytes while a candidate was timed; None where the system does not tell."""

    peak_bytes: int | None
    """The highest at any moment, everything included."""
    activation_bytes: int | None
    """How far that is above what stood when the round began: weights, pool, libraries. The keys
    and values of members that a logits processor runs are among them."""
    device_bytes: int | None
    """In use on the first GPU, by every process, as NVML says; None on a CPU. vLLM preallocates
    its KV pool, so this says what must be free, not what a candidate needs."""
    kv_pool_bytes: int | None
    """What the engine has set aside for keys and values, however few of them it serves."""


class Gauge:
    """Watches memory from its construction on."""

    def __init__(self, device: str) -> None:
        """Start a new peak, so that an earlier candidate's does not count."""
        self._device = device
        if device == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats()
            self._standing: int | None = torch.cuda.memory_allocated()
        else:
            self._standing = _forget_peak()

    def read(self, kv_pool_bytes: int | None) -> Footprint:
        """What was seen since then; `kv_pool_bytes` is the engine's to say."""
        peak, standing = self._peak_bytes(), self._standing
        return Footprint(
            peak_bytes=peak,
            activation_bytes=None if peak is None or standing is None else max(0, peak - standing),
            device_bytes=int(_gpu_memory().used) if self._device == "cuda" else None,
            kv_pool_bytes=kv_pool_bytes,
        )

    def _peak_bytes(self) -> int | None:
        if self._device == "cuda":
            import torch

            return int(torch.cuda.max_memory_allocated())
        return _status_bytes("VmHWM")


def total_bytes(device: str) -> int:
    """All that the device has: the first GPU's memory, or the machine's."""
    return int(_gpu_memory().total if device == "cuda" else psutil.virtual_memory().total)


def _forget_peak() -> int | None:
    """Bytes that are resident now; None in a container that does not let us forget the peak.

    What earlier rounds freed goes back to the system first: it would hide as much of this one's.
    """
    with contextlib.suppress(AttributeError):  # only glibc keeps it, and has this function
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
