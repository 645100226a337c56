"""The machine's processor: its name, and what it cannot do."""

import ctypes
import os
import platform
from pathlib import Path

ARCH_PRCTL = 158
"""The system call's number on x86-64."""
ASK_FOR_STATE, TILE_DATA = 0x1023, 18
"""ARCH_REQ_XCOMP_PERM, and AMX's tile registers: arch/x86/include/uapi/asm/prctl.h."""
TILES_FLAG = "amx_tile"

BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""As Linux names them, of x86 and of ARM."""


def computes_bfloat16() -> bool:
    """Whether the processor has bfloat16 instructions; without, bfloat16 is slower than float32.
    True where that is unknown."""
    flags = _cpuinfo("flags") or _cpuinfo("Features")
    return not flags or not BFLOAT16_FLAGS.isdisjoint(flags[0].split())


def cpu_name() -> str:
    names = _cpuinfo("model name")
    return names[0] if names else platform.processor()


def lacks_for(dtype: str) -> str:
    """Why engines on this processor would crash in `dtype`; empty if they would not.

    vLLM's bfloat16 attention uses AMX if the processor has it, and crashes if the kernel does not
    grant its tile registers, as kernels before 5.16 and some sandboxes do not. Asking takes
    microseconds, and only enlarges this process's signal stack.
    """
    if dtype != "bfloat16" or platform.machine() != "x86_64":
        return ""
    if TILES_FLAG not in " ".join(_cpuinfo("flags")[:1]).split():
        return ""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(ARCH_PRCTL, ASK_FOR_STATE, TILE_DATA) == 0:
        return ""
    return (
        f"bfloat16 takes the processor's AMX tiles, which the kernel refuses to this process "
        f"({os.strerror(ctypes.get_errno())}); serve it in float32, or on another machine"
    )


def _cpuinfo(field: str) -> list[str]:
    """A value for each processor; empty if unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return [line.split(":", 1)[1].strip() for line in lines if line.split("\t")[0] == field]
