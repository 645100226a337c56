"""Names of the machine's parts, for records of how something was made."""

import platform
from pathlib import Path

BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""As Linux names them, of x86 and of ARM."""


def computes_bfloat16() -> bool:
    """The processor multiplies bfloat16 itself. Where it does not, that takes longer than float32;
    where nobody can tell, it is taken for able."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return True
    flags = [line.split(":", 1)[1] for line in lines if line.startswith(("flags", "Features"))]
    return not flags or not BFLOAT16_FLAGS.isdisjoint(flags[0].split())


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
