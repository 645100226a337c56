#!/usr/bin/env python3
"""Install a lock file into the environment that runs this, and say how far it is.

    .venv/bin/python locks/install.py locks/cpu.txt

torch and the rest are installed side by side. PyPI has no torch without CUDA: a CPU build comes
from where pip looks anyway, else from PyTorch's own index. Modules are compiled when they are
first imported: most never are.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
SECONDS_PER_LINE = 8.0
PIP = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"]
PIP += ["--no-compile", "--progress-bar=off", "--no-input"]
SITE = Path(sysconfig.get_paths()["purelib"])


def main(lock: Path) -> int:
    pins = [line for line in lock.read_text().splitlines() if "==" in line]
    torch = [pin for pin in pins if pin.startswith("torch==") and pin.endswith("+cpu")]
    print(f"Installing {len(pins)} packages from {lock}, once; a few minutes.", flush=True)
    meter = Meter(len(pins))
    rest = [pin for pin in pins if pin not in torch]
    failed = install({"torch": torch, "rest": rest} if torch else {"rest": rest}, meter)
    if failed.pop("torch", ""):
        failed |= install({"torch": [*torch, "--index-url", TORCH_CPU_INDEX]}, meter)
    print("\n".join(failed.values()) or meter.line(), flush=True)
    return len(failed)


def install(batches: Mapping[str, Sequence[str]], meter: "Meter") -> dict[str, str]:
    """Run pip on each batch, side by side; returns the last lines of those that failed."""
    with tempfile.TemporaryDirectory() as scratch:
        logs = {name: Path(scratch) / name for name in batches}
        children = {name: pip(arguments, logs[name]) for name, arguments in batches.items()}
        while any(child.poll() is None for child in children.values()):
            time.sleep(0.1)
            meter.tick(list(logs.values()))
        return {name: tail(logs[name]) for name, child in children.items() if child.returncode}


def pip(arguments: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as output:
        return subprocess.Popen(
            [*PIP, *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )


class Meter:
    """A line every few seconds."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.started = self.said = time.monotonic()
        self.before = num_installed()
        self.fetched = 0

    def tick(self, logs: Sequence[Path]) -> None:
        if time.monotonic() - self.said < SECONDS_PER_LINE:
            return
        self.said = time.monotonic()
        self.fetched = sum(log.read_bytes().count(b"Collecting ") for log in logs)
        print(self.line(), flush=True)

    def line(self) -> str:
        installed = num_installed() - self.before
        fetched = max(self.fetched, installed)
        return (
            f"  {time.monotonic() - self.started:.0f} s: {fetched} of {self.total} packages "
            f"fetched, {installed} installed"
        )


def num_installed() -> int:
    return len(list(SITE.glob("*.dist-info")))


def tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-8:])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
