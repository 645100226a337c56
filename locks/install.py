#!/usr/bin/env python3
"""Install a lock file into the environment that runs this, and say how far it is.

    .venv/bin/python locks/install.py locks/cpu.txt

torch and the rest are installed side by side. PyPI has no torch without CUDA: a CPU build comes
from where pip looks anyway, else from PyTorch's own index. Modules are compiled when they are
first imported: most never are.
"""

import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
SECONDS_PER_LINE = 8.0
PIP = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"]
PIP += ["--no-compile", "--progress-bar=off", "--no-input"]
SITE = Path(sysconfig.get_paths()["purelib"])


def main(lock: Path) -> int:
    lines = [line for line in lock.read_text().splitlines() if "==" in line]
    torch = [line for line in lines if line.startswith("torch==") and "+cpu" in line]
    rest = [line for line in lines if line not in torch]
    print(f"Installing {len(lines)} packages from {lock}, once; a few minutes.", flush=True)
    started, before = time.monotonic(), num_installed()
    with tempfile.TemporaryDirectory() as scratch:
        requirements = Path(scratch) / "rest.txt"
        requirements.write_text("\n".join(rest) + "\n")
        jobs = [pip(Path(scratch) / "rest.log", ["-r", str(requirements)])]
        if torch:
            jobs.append(pip(Path(scratch) / "torch.log", torch))
        follow(jobs, len(lines), started, before)
        failed = [log for child, log in jobs if child.returncode]
        if torch and [log.stem for log in failed] == ["torch"]:
            jobs = [pip(Path(scratch) / "torch.log", [*torch, "--index-url", TORCH_CPU_INDEX])]
            follow(jobs, len(lines), started, before)
            failed = [log for child, log in jobs if child.returncode]
        for log in failed:
            print(tail(log), file=sys.stderr)
    print(f"  {time.monotonic() - started:.0f} s: {num_installed() - before} packages installed")
    return len(failed)


def pip(log: Path, arguments: Sequence[str]) -> tuple["subprocess.Popen[bytes]", Path]:
    with log.open("wb") as output:
        command = [*PIP, *arguments]
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT), log


def follow(
    jobs: Sequence[tuple["subprocess.Popen[bytes]", Path]], total: int, started: float, before: int
) -> None:
    """Wait for all of them, with a line every few seconds."""
    said = time.monotonic()
    while any(child.poll() is None for child, _ in jobs):
        time.sleep(0.1)
        if time.monotonic() - said >= SECONDS_PER_LINE:
            said = time.monotonic()
            fetched = sum(log.read_bytes().count(b"Collecting ") for _, log in jobs)
            installed = num_installed() - before
            print(
                f"  {said - started:.0f} s: {min(fetched, total)} of {total} packages fetched, "
                f"{installed} installed",
                flush=True,
            )


def num_installed() -> int:
    return len(list(SITE.glob("*.dist-info")))


def tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-8:])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
