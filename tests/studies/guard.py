"""`make guard`: is the harness itself slower than when it was last guarded on this machine?

pytest-benchmark compares medians. On a shared machine, slow moments do not last for three runs, but
a slower harness does: a benchmark fails only if all runs find it slower.
"""

import platform
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
STORE = ROOT / ".benchmarks" / "guard"
BENCHMARKS = "tests/bench/bench_harness.py"
SLOWER = "median:15%"
ATTEMPTS = 3

Run = Callable[[list[str]], int]


def main() -> int:
    return guard(STORE / f"{machine()}.json", run)


def guard(baseline: Path, run: Run) -> int:
    """The exit code of pytest; 0 without a baseline. A run that passes is the next baseline."""
    baseline.parent.mkdir(parents=True, exist_ok=True)
    new = baseline.with_suffix(".new")
    is_first = not baseline.exists()
    code = 0
    for _ in range(ATTEMPTS):
        code = run(pytest_command(new, None if is_first else baseline))
        if code == 0:
            new.replace(baseline)
            said = (
                "nothing to compare with: kept as this machine's first" if is_first else "no slower"
            )
            print(f"guard: {said} ({baseline.name})")
            return 0
    print(f"guard: slower than {baseline} by more than {SLOWER}, {ATTEMPTS} times in a row")
    return code


def pytest_command(new: Path, baseline: Path | None) -> list[str]:
    command = [sys.executable, "-m", "pytest", BENCHMARKS, "-q", "-p", "no:cacheprovider",
               "--benchmark-columns=median,iqr,rounds", f"--benchmark-json={new}"]  # fmt: skip
    if baseline is None:
        return command
    return [*command, f"--benchmark-compare={baseline}", f"--benchmark-compare-fail={SLOWER}"]


def run(command: list[str]) -> int:
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def machine() -> str:
    """A file name for the processor and Python: times of others are not comparable."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
    name = f"{found.group(1) if found else platform.machine()} python {platform.python_version()}"
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


if __name__ == "__main__":
    sys.exit(main())
