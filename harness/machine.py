"""The machine's parts: their names, for records of how something was made, and what they lack."""

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
    """The processor multiplies bfloat16 itself. Where it does not, that takes longer than float32;
    where nobody can tell, it is taken for able."""
    flags = _cpuinfo("flags") or _cpuinfo("Features")
    return not flags or not BFLOAT16_FLAGS.isdisjoint(flags[0].split())


def cpu_name() -> str:
    names = _cpuinfo("model name")
    return names[0] if names else platform.processor()


def lacks_for(dtype: str) -> str:
    """Why engines on this processor would die of computing in `dtype`; empty where they do not.

    vLLM's attention takes AMX in bfloat16 where the processor has it, and dies where the kernel
    does not hand out its tile registers, as kernels before 5.16 and some sandboxes do not. To ask
    takes microseconds, and costs only this process some room on its signal stack.
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
    """A value for each processor; none where nobody knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return [line.split(":", 1)[1].strip() for line in lines if line.split("\t")[0] == field]
