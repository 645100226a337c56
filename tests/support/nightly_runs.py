"""A folder of nightly runs with random numbers, for tests of trend pages."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from melange.harness.stats import wilson_interval

FAMILIES = ("single", "averaging", "merging", "proxy", "ensemble")
WORKLOADS = ("8/128", "256/8", "64/64", "mixed")
SPEED = {"prefill_tokens_per_sec": 9000.0, "decode_tokens_per_sec": 900.0,
         "total_tokens_per_sec": 1400.0, "ttft_sec": 0.04, "ttft_sec_p90": 0.06,
         "ttft_sec_p99": 0.09, "tpot_sec": 0.011, "latency_sec": 1.3, "latency_sec_p90": 1.9,
         "latency_sec_p99": 2.6, "relative_throughput": 1.0}  # fmt: skip
STATIC = {"weights_bytes": 5e6, "kv_bytes_per_token": 1024.0, "total_params": 1.2e6,
          "active_params": 1.2e6, "needed_memory_bytes": 8e6, "peak_memory_bytes": 3e7,
          "build_sec": 2.0,
          "calibration_sec": 0.01}  # fmt: skip
FIRST = datetime(2026, 1, 1, 2, tzinfo=UTC)

Line = dict[str, Any]
Edit = Callable[[int, Line], Line | None]
"""(night, line) -> the line to write; None leaves it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nights:
    nights: int = 12
    candidates: int = 3
    tasks: int = 3
    examples: int = 500
    workloads: int = 2
    seed: int = 0


def write_history(root: Path, nights: Nights, edit: Edit = lambda night, line: line) -> Path:
    """Writes one folder per night, named after its start."""
    for night in range(nights.nights):
        write_night(root / name_of(night), nights, night, edit)
    return root


def name_of(night: int) -> str:
    return (FIRST + timedelta(days=night)).strftime("%Y-%m-%dT%H-%M")


def write_night(folder: Path, nights: Nights, night: int, edit: Edit = lambda n, x: x) -> Path:
    folder.mkdir(parents=True)
    write_manifest(folder, manifest_of(nights, night))
    draw = random.Random(f"{nights.seed}/{night}")
    lines = [edit(night, line) for line in _lines(nights, draw)]
    text = "".join(json.dumps(line) + "\n" for line in lines if line is not None)
    (folder / "measurements.jsonl").write_text(text)
    return folder


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest))


def manifest_of(nights: Nights, night: int) -> dict[str, Any]:
    started = FIRST + timedelta(days=night)
    candidates = [_candidate(i) for i in range(nights.candidates)]
    tasks = [_task(i) for i in range(nights.tasks)]
    cells = [
        {"candidate": one["name"], "task": task, "refused": ""}
        for one in candidates
        for task in [*(task["name"] for task in tasks), None]
    ]
    workloads = [
        {"name": name, "prompt_tokens": 64, "output_tokens": 64, "num_requests": 8}
        for name in WORKLOADS[: nights.workloads]
    ]
    return {
        "schema_version": 1,
        "suite": {"name": "nightly", "title": "Nightly", "tasks": {}, "candidates": []},
        "zoo": {"name": "pocket", "scale": "pocket", "fingerprints": {"large_base": "9f2c41"}},
        "seed": 0, "limit": 500, "device": "cpu",
        "command": "python run_all.py --suite nightly",
        "candidates": candidates, "tasks": tasks, "cells": cells, "workloads": workloads,
        "versions": {"python": "3.11.2", "vllm": "0.32.0", "torch": "2.13.0"},
        "hardware": {"cpu": "Invented CPU", "cores": 2, "memory_bytes": 2**33, "gpu": None},
        "git_revision": f"{0xabc000 + night:012x}",
        "started": started.isoformat(timespec="seconds"),
        "finished": (started + timedelta(minutes=6)).isoformat(timespec="seconds"),
        "timings": {"evaluate_sec": 120.0},
    }  # fmt: skip


def _candidate(i: int) -> dict[str, Any]:
    recipe = {"kind": "weights", "method": "checkpoint", "inputs": ["large_base"]}
    return {"name": f"candidate-{i}", "family": FAMILIES[i % len(FAMILIES)], "recipe": recipe}


def _task(i: int) -> dict[str, Any]:
    return {"name": f"task_{i}", "lm_eval": f"task_{i}", "scale": "pocket", "domain": "knowledge",
            "output_type": "multiple_choice", "primary_metric": "acc", "chance": 0.25}  # fmt: skip


def _lines(nights: Nights, draw: random.Random) -> list[Line]:
    lines: list[Line] = []
    for i in range(nights.candidates):
        one = {"candidate": f"candidate-{i}", "family": FAMILIES[i % len(FAMILIES)]}
        lines += [one | _quality(i, j, nights.examples, draw) for j in range(nights.tasks)]
        lines += [one | _static(metric, typical, draw) for metric, typical in STATIC.items()]
        lines += [
            one | _speed(i, workload, metric, typical, draw)
            for workload in WORKLOADS[: nights.workloads]
            for metric, typical in SPEED.items()
        ]
    return [_whole(line) for line in lines]


def _whole(line: Line) -> Line:
    """The line with every field of a record, as the store writes it."""
    empty = {"schema_version": 1, "task": None, "workload": None, "value": None, "n": None,
             "ci_low": None, "ci_high": None, "higher_is_better": None, "outcome": "completed",
             "reason": ""}  # fmt: skip
    return empty | line


def _quality(i: int, j: int, examples: int, draw: random.Random) -> Line:
    flipped = draw.choice((-1, 0, 0, 0, 0, 0, 1))
    value = (round(examples * (0.3 + 0.04 * i + 0.02 * j)) + flipped) / examples
    low, high = wilson_interval(value, examples)
    return {"task": f"task_{j}", "metric": "acc", "value": value, "unit": "fraction",
            "n": examples, "ci_low": low, "ci_high": high, "higher_is_better": True}  # fmt: skip


def _static(metric: str, typical: float, draw: random.Random) -> Line:
    exact = metric not in ("peak_memory_bytes", "build_sec")
    value = typical * (1 if exact else draw.gauss(1, 0.01))
    unit = "bytes" if "bytes" in metric else "s" if metric.endswith("_sec") else "parameters"
    return {"metric": metric, "value": value, "unit": unit, "higher_is_better": False}


def _speed(i: int, workload: str, metric: str, typical: float, draw: random.Random) -> Line:
    value = typical * (1 + 0.1 * i) * draw.gauss(1, 0.03)
    higher = "per_sec" in metric or metric == "relative_throughput"
    unit = "ratio" if "relative" in metric else "tokens/s" if higher else "s"
    return {"workload": workload, "metric": metric, "value": value, "unit": unit, "n": 8,
            "ci_low": value * 0.96, "ci_high": value * 1.04,
            "higher_is_better": higher}  # fmt: skip
