"""The GPU that an engine runs on, as NVIDIA's management library knows it."""

import os
from typing import Any


def first_gpu() -> Any:
    """NVML's handle of the GPU that CUDA calls its first.

    Raises:
        pynvml.NVMLError: there is no such GPU, or no driver.
    """
    import pynvml

    pynvml.nvmlInit()
    # NVML counts all GPUs, CUDA those that it may see; numbers are read as vLLM reads them.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    if visible.startswith(("GPU-", "MIG-")):
        return pynvml.nvmlDeviceGetHandleByUUID(visible)
    return pynvml.nvmlDeviceGetHandleByIndex(int(visible or 0))
