"""Measures whether scores depend on the processor: `make processor-study`.

Runs the quality part of jan2024 on the shipped zoo, once with all of the processor's instructions
and once limited to AVX2, as on plain servers and older laptops. Prints how many answers are equal,
how far accuracies differ, and whether rank groups are the same. docs/experiments.md has figures.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from quality_runs import Apart, compare, largest_gaps, measure  # noqa: E402

from melange.reports.analysis.run import load_run  # noqa: E402
from melange.reports.view import RunView  # noqa: E402

OUT = ROOT / "runs" / "processor-study"
SUITE = "jan2024"
HELD = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
# vLLM asks PyTorch which instructions there are, and PyTorch asks the processor.
SITE = """\
import torch.cpu

_found = torch.cpu.get_capabilities

def get_capabilities():
    return {k: v and not k.startswith(("avx512", "amx")) for k, v in _found().items()}

torch.cpu.get_capabilities = get_capabilities
"""
PROBE = """\
import torch, vllm.platforms
vllm.platforms.current_platform.import_kernels()
library = [line.split("/")[-1].strip() for line in open("/proc/self/maps") if "/vllm/_C" in line]
rows = torch.randn(64, 160, generator=torch.Generator().manual_seed(0))
product = (rows @ rows.T).double().sum().item()
print(torch.backends.cpu.get_cpu_capability(), *sorted(set(library)), f"{product:.17g}")
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sitecustomize.py").write_text(SITE)
        held = HELD | {"PYTHONPATH": folder}
        probes = [probe({}), probe(held)]
        print("as the processor allows:", probes[0])
        print("held to AVX2:           ", probes[1])
        if probes[0] == probes[1]:
            print("the switch changes nothing on this processor: there is nothing to compare")
            return 2
        free = measure(OUT / "free", suite=SUITE, zoo="pocket")
        avx2 = measure(OUT / "avx2", suite=SUITE, zoo="pocket", env=held)
    return report(compare(free, avx2), free, avx2)


def probe(env: dict[str, str]) -> str:
    """The instruction set, vLLM's library and a product's digits in a fresh process."""
    command = [sys.executable, "-c", PROBE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | env)
    return done.stdout.splitlines()[-1]


def report(cells: list[Apart], free: Path, avx2: Path) -> int:
    answers, equal = sum(c.num_answers for c in cells), sum(c.num_equal for c in cells)
    gaps = largest_gaps(cells)
    task = max(gaps, key=lambda name: gaps[name])
    ranks = [rank_groups(folder) for folder in (free, avx2)]
    moved = [name for name in ranks[0] if ranks[0][name] != ranks[1].get(name)]
    print(f"{len(cells)} cells, {answers:,} answers, {equal:,} equal ({equal / answers:.3%})")
    apart = [gap for cell in cells for gap in cell.logprob_gaps]
    print(
        f"{len(apart):,} log-probabilities, {sum(gap > 0 for gap in apart):,} differ, "
        f"by at most {max(apart):.1e} nats"
    )
    print(f"largest difference of a candidate's accuracy: {100 * gaps[task]:.2f} points, {task}")
    print(f"rank groups that differ: {', '.join(moved) or 'none'}")
    return int(equal < 0.999 * answers or gaps[task] > 0.002 or bool(moved))


def rank_groups(folder: Path) -> dict[str, str]:
    return {row.candidate: row.ranks for row in RunView(load_run(folder)).standings}


if __name__ == "__main__":
    sys.exit(main())
