"""The GPU that an engine runs on, in NVIDIA's management library."""

import os
from typing import Any


def first_gpu() -> Any:
    """NVML's handle of CUDA's first GPU.

    Raises:
        pynvml.NVMLError: there is no such GPU, or no driver.
    """
    import pynvml

    pynvml.nvmlInit()
    # NVML counts all GPUs, CUDA only visible ones; numbers are interpreted as vLLM does.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    if visible.startswith(("GPU-", "MIG-")):
        return pynvml.nvmlDeviceGetHandleByUUID(visible)
    return pynvml.nvmlDeviceGetHandleByIndex(int(visible or 0))
