"""HumanEval's judge: a program passes if its unit test ends without an exception.

The program is the model's. It runs in a Python of its own, in an empty folder, with limits on
time, memory and files, and without a network where bubblewrap is installed. That keeps accidents
in; it does not stop an attacker where bubblewrap is missing.
"""

import shutil
import subprocess
import sys
import tempfile
from functools import cache
from typing import Any

TIMEOUT_SEC = 3.0
MEMORY_BYTES = 1 << 30

LIMITS = f"""\
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, ({int(TIMEOUT_SEC) + 1},) * 2)
resource.setrlimit(resource.RLIMIT_AS, ({MEMORY_BYTES},) * 2)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20,) * 2)
exec(compile(sys.stdin.read(), "program", "exec"), {{"__name__": "program"}})
print({{token!r}})
"""


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """lm-eval's hook; pass@1 of the one completion."""
    test = f"{doc['test']}\ncheck({doc['entry_point']})"
    return {"pass@1": float(passes(f"{doc['prompt']}{results[0]}\n{test}"))}


def passes(program: str) -> bool:
    """Whether `program` runs to its end; a program that exits early has not passed."""
    import secrets

    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-I", "-c", LIMITS.replace("{token!r}", repr(token))]
        try:
            ended = subprocess.run(
                [*_shut_in(folder), *command],
                input=program,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=TIMEOUT_SEC,
                cwd=folder,
                env={},
            )
        except subprocess.TimeoutExpired:
            return False
    return ended.returncode == 0 and ended.stdout.endswith(f"{token}\n")


@cache
def _bubblewrap_works() -> bool:
    found = shutil.which("bwrap")
    probe = ["bwrap", "--ro-bind", "/", "/", "--unshare-all", "true"]
    return bool(found) and subprocess.run(probe, capture_output=True).returncode == 0


def _shut_in(folder: str) -> list[str]:
    if not _bubblewrap_works():
        return []
    return [
        *("bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
        *("--bind", folder, folder, "--chdir", folder),
        *("--unshare-all", "--die-with-parent"),
    ]
