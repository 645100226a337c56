"""Runs for studies: only a suite's quality, and how the answers of two runs differ."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """Differences of one cell between two runs."""

    candidate: str
    task: str
    num_answers: int
    num_equal: int
    """Number of equal answers; two wrong answers may differ."""
    accuracies: tuple[float, float]
    logprob_gaps: tuple[float, ...]
    """Differences of the choices' log-probabilities (nats); empty for generated text."""


def measure(
    out: Path, *, suite: str, zoo: str, arguments: Sequence[str] = (), env: Mapping[str, str] = {}
) -> Path:
    """Runs a suite without its workloads; cells that have a result are not measured again."""
    out.mkdir(parents=True, exist_ok=True)
    content = yaml.safe_load((ROOT / "tasks" / "suites" / f"{suite}.yaml").read_text())
    file = out / f"{suite}.yaml"
    file.write_text(yaml.safe_dump(content | {"workloads": [], "rounds": 1}))
    command = [sys.executable, str(ROOT / "run_all.py"), "--suite", str(file), "--zoo", zoo]
    command += ["--out", str(out), "--device", "cpu", *arguments]
    subprocess.run(command, check=True, env=os.environ | dict(env))
    return out


def compare(one: Path, other: Path) -> list[Apart]:
    """Differences of all cells that both runs have."""
    first, second = one / "samples", other / "samples"
    names = [path.relative_to(first) for path in sorted(first.glob("*/*.parquet"))]
    return [_apart(first / name, second / name) for name in names if (second / name).is_file()]


def _apart(one: Path, other: Path) -> Apart:
    columns = ["example", "prompt", "response", "score", "logprobs"]
    mine, theirs = (pq.read_table(path, columns=columns).to_pylist() for path in (one, other))
    pairs = list(zip(mine, theirs, strict=True))
    assert all(a["example"] == b["example"] and a["prompt"] == b["prompt"] for a, b in pairs)
    return Apart(
        candidate=one.parent.name,
        task=one.stem,
        num_answers=len(pairs),
        num_equal=sum(a["response"] == b["response"] for a, b in pairs),
        accuracies=(_mean(mine), _mean(theirs)),
        logprob_gaps=tuple(
            abs(x - y)
            for a, b in pairs
            for x, y in zip(a["logprobs"] or (), b["logprobs"] or (), strict=True)
        ),
    )


def _mean(rows: Sequence[Mapping[str, Any]]) -> float:
    return sum(row["score"] for row in rows) / len(rows)


def largest_gaps(cells: Sequence[Apart]) -> dict[str, float]:
    """Task -> the largest difference of a candidate's accuracy."""
    found: dict[str, float] = {}
    for cell in cells:
        gap = abs(cell.accuracies[0] - cell.accuracies[1])
        found[cell.task] = max(gap, found.get(cell.task, 0.0))
    return found
