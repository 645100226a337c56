"""Writes a run's folder with random numbers, for tests of the report."""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melange.harness.stats import wilson_interval

FAMILIES = ("checkpoint", "averaging", "merging", "mixture of experts", "proxy-tuning", "ensemble")
METHODS = ("checkpoint", "ties", "dare", "slerp", "linear", "frankenmoe")
DOMAINS = ("knowledge", "arithmetic", "programs", "instructions", "misconceptions")
WORKLOADS = (("8/512", 8, 448, 16, False), ("512/8", 448, 8, 16, False),
             ("8/8", 8, 8, 16, False), ("mixed", 256, 256, 16, True),
             ("load-1", 64, 64, 1, False), ("load-4", 64, 64, 4, False),
             ("load-16", 64, 64, 16, False))  # fmt: skip
SPEED = {"prefill_tokens_per_sec": 9000.0, "decode_tokens_per_sec": 900.0,
         "total_tokens_per_sec": 1400.0, "request_throughput": 5.5,
         "ttft_sec": 0.04, "ttft_sec_p90": 0.06, "ttft_sec_p99": 0.09,
         "tpot_sec": 0.011, "tpot_sec_p90": 0.015, "tpot_sec_p99": 0.02,
         "latency_sec": 1.3, "latency_sec_p90": 1.9, "latency_sec_p99": 2.6,
         "relative_throughput": 1.0}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    candidates: int = 8
    tasks: int = 6
    examples: int = 24
    seed: int = 0


def write_run(folder: Path, shape: Shape) -> Path:
    """One skipped cell, one failed cell, one candidate without speed; the rest is complete.

    Samples match the recorded scores; the last candidate has none.
    """
    draw = random.Random(shape.seed)
    candidates = [_candidate(i) for i in range(shape.candidates)]
    tasks = [_task(i) for i in range(shape.tasks)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(_manifest(candidates, tasks, shape)))
    lines = [line for c in candidates for line in _lines(c, tasks, shape, draw)]
    write_lines(folder, lines)
    shares = {
        (x["candidate"], x.get("task")): x["value"] for x in lines if x.get("value") is not None
    }
    hardness = {t["name"]: [draw.random() for _ in range(shape.examples)] for t in tasks}
    for candidate in candidates[:-1]:
        for task in hardness:
            if (candidate["name"], task) in shares:
                right = _right(shares[candidate["name"], task], hardness[task], draw)
                write_samples(folder, candidate["name"], task, samples_of(right))
    return folder


def write_lines(folder: Path, lines: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "measurements.jsonl").write_text(text)


def write_samples(folder: Path, candidate: str, task: str, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "samples" / candidate / f"{task}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_cell(folder: Path, candidate: str, task: str, rows: list[dict[str, Any]]) -> None:
    """Samples, and the value that they give in the place of the cell's record."""
    write_samples(folder, candidate, task, rows)
    path = folder / "measurements.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if (line["candidate"], line.get("task")) == (candidate, task):
            value = sum(row["score"] for row in rows) / len(rows)
            line |= {"value": value, "n": len(rows), "outcome": "completed", "reason": ""}
    write_lines(folder, lines)


def _candidate(i: int) -> dict[str, Any]:
    family = FAMILIES[i % len(FAMILIES)]
    if family == "proxy-tuning":
        members = [{"role": "large_base", "coefficient": 1.0},
                   {"role": "small_arithmetic", "coefficient": i / 10},
                   {"role": "small_base", "coefficient": -i / 10}]  # fmt: skip
        recipe: dict[str, Any] = {"kind": "logit_mix", "method": "proxy_tuning",
                                  "members": members}  # fmt: skip
    elif family == "checkpoint":
        role = "large_base" if i == 0 else f"large_{DOMAINS[i // len(FAMILIES) % 5]}"
        recipe = {"kind": "weights", "method": "checkpoint", "inputs": [role]}
    elif family == "averaging":
        steps = range(100, 400 + 100 * (i // len(FAMILIES)), 100)
        recipe = {"kind": "weights", "method": "swa",
                  "inputs": [f"large_base@{step}" for step in steps]}  # fmt: skip
    else:
        recipe = {"kind": "weights", "method": METHODS[i % len(METHODS)],
                  "inputs": ["large_math", "large_code"],
                  "options": {"base": "large_base", "weights": [0.5, 0.5]}}  # fmt: skip
    name = "base" if i == 0 else f"{recipe['method'].replace('_', '-')}-{family.split()[0]}-{i}"
    return {"name": name, "family": family, "recipe": recipe,
            "summary": f"Candidate {i}, made as {family}.",
            "source": "https://arxiv.org/abs/2306.01708"}  # fmt: skip


def _task(i: int) -> dict[str, Any]:
    shifted = i % 2 == 1
    domain = DOMAINS[i // 2 % len(DOMAINS)]
    name = f"{domain}{'_shifted' if shifted else ''}" + (f"_{i}" if i >= 10 else "")
    return {"name": name, "lm_eval": f"pocket_{name}", "scale": "pocket", "domain": domain,
            "output_type": "multiple_choice" if i % 4 < 2 else "generate_until",
            "primary_metric": "acc" if i % 4 < 2 else "exact_match",
            "chance": 0.25 if i % 4 < 2 else 0.0, "num_fewshot": 2,
            "split": "shifted" if shifted else "held_out",
            "shifted_of": name.replace("_shifted", "") if shifted else None,
            "source": "https://arxiv.org/abs/2009.03300"}  # fmt: skip


def _manifest(candidates: list[Any], tasks: list[Any], shape: Shape) -> dict[str, Any]:
    workloads = [
        {"name": n, "prompt_tokens": p, "output_tokens": o, "num_requests": r, "mixed": m}
        for n, p, o, r, m in WORKLOADS
    ]
    cells = [
        {"candidate": c["name"], "task": task, "refused": _refused(c, task, tasks)}
        for c in candidates
        for task in [*(t["name"] for t in tasks), None]
    ]
    return {
        "schema_version": 1,
        "suite": {"name": "invented", "title": "Invented run for the report’s tests",
                  "description": "Numbers drawn from a seed, to look at the report.",
                  "tasks": {"pocket": ["*"]}, "candidates": [], "workloads": workloads,
                  "reference": "base"},
        "zoo": {"name": "pocket", "scale": "pocket",
                "fingerprints": {"small_base": "9f2c41d07be3", "small_math": "0b77ae51c2d4"}},
        "seed": shape.seed, "limit": shape.examples, "device": "cpu",
        "command": "python run_all.py --suite invented --zoo pocket",
        "candidates": candidates, "tasks": tasks, "workloads": workloads, "cells": cells,
        "versions": {"python": "3.11.2", "vllm": "0.11.0", "torch": "2.9.0", "mergekit": "0.1.4"},
        "hardware": {"cpu": "x86_64", "cores": 2, "memory_bytes": 8 * 2**30, "gpu": None},
        "git_revision": "0123abcd", "started": "2024-01-31T10:00:00",
        "finished": "2024-01-31T10:42:10", "timings": {"build_sec": 301.2, "measure_sec": 2110.9},
    }  # fmt: skip


def _refused(candidate: dict[str, Any], task: str | None, tasks: list[Any]) -> str:
    if candidate["family"] == "ensemble" and task == tasks[0]["name"]:
        return "the session cannot score log-likelihoods, which this task needs"
    return ""


def _lines(
    candidate: dict[str, Any], tasks: list[Any], shape: Shape, draw: random.Random
) -> list[dict[str, Any]]:
    common = {"candidate": candidate["name"], "family": candidate["family"]}
    skill = draw.uniform(0.25, 0.85)
    lines = [common | _quality(candidate, t, tasks, shape, skill, draw) for t in tasks]
    return lines + [common | line for line in _costs(candidate, draw)]


def _quality(
    candidate: dict[str, Any], task: Any, tasks: list[Any], shape: Shape, skill: float,
    draw: random.Random,
) -> dict[str, Any]:  # fmt: skip
    line = {"task": task["name"], "metric": task["primary_metric"], "higher_is_better": True}
    refused = _refused(candidate, task["name"], tasks)
    if refused:
        return line | {"outcome": "skipped", "reason": refused}
    if candidate["name"].startswith("dare") and task is tasks[1]:
        return line | {"outcome": "failed", "reason": "layer 3 gave no numbers <b>(dare)</b>"}
    chance = task["chance"]
    share = min(1.0, max(0.0, chance + (1 - chance) * skill + draw.gauss(0, 0.08)))
    value = round(share * shape.examples) / shape.examples
    low, high = wilson_interval(value, shape.examples)
    return line | {"value": value, "n": shape.examples, "ci_low": low, "ci_high": high}


def _costs(candidate: dict[str, Any], draw: random.Random) -> list[dict[str, Any]]:
    size = draw.choice((1.0, 1.0, 1.7, 3.4))
    static = {"weights_bytes": size * 3.1e6, "kv_bytes_per_token": 1024.0,
              "kv_pool_bytes": 1.6e7, "kv_load_bytes": size * 2.1e6,
              "peak_activation_bytes": size * 1.9e6, "needed_memory_bytes": size * 7.1e6,
              "peak_memory_bytes": size * 5.0e6 + 2.2e7, "total_params": size * 1.55e6,
              "active_params": min(size, 1.7) * 1.55e6,
              "build_sec": draw.uniform(0.4, 9)}  # fmt: skip
    static["beyond_base_sec"] = 40 * size + static["build_sec"]
    lines: list[dict[str, Any]] = [
        {"metric": name, "value": value, "unit": "sec" if name.endswith("sec") else "count"}
        for name, value in static.items()
    ]
    if candidate["family"] == "mixture of experts":
        return [*lines, {"metric": "throughput", "unit": "tokens/s", "outcome": "failed",
                         "reason": "the engine ran out of memory while it started"}]  # fmt: skip
    for workload, *_ in WORKLOADS:
        lines += [_speed(workload, name, typical, size, draw) for name, typical in SPEED.items()]
    return lines


def _speed(
    workload: str, metric: str, typical: float, size: float, draw: random.Random
) -> dict[str, Any]:
    slower = size ** (1 if "_sec" in metric and "per_sec" not in metric else -1)
    load = next(requests for name, _, _, requests, _ in WORKLOADS if name == workload) / 16
    busy = load**0.6 if "per_sec" in metric or "throughput" in metric else load**0.3
    value = typical * slower * draw.uniform(0.85, 1.15) * (1 if "relative" in metric else busy)
    return {"workload": workload, "metric": metric, "value": value, "ci_low": value * 0.96,
            "ci_high": value * 1.05, "n": 3,
            "higher_is_better": "_sec" not in metric or "per_sec" in metric,
            "unit": _unit(metric)}  # fmt: skip


def _unit(metric: str) -> str:
    if "per_sec" in metric or metric == "request_throughput":
        return "tokens/s" if "tokens" in metric else "requests/s"
    return "ratio" if "relative" in metric else "sec"


def _right(share: float, hardness: list[float], draw: random.Random) -> list[bool]:
    """Marks as many examples right as the score says, preferring easy ones."""
    pull = [hard + draw.gauss(0, 0.3) for hard in hardness]
    chosen = set(sorted(range(len(pull)), key=pull.__getitem__)[: round(share * len(pull))])
    return [i in chosen for i in range(len(pull))]


def samples_of(right: list[bool]) -> list[dict[str, Any]]:
    return [
        {"example": i, "prompt": f"Q: Tom has {i} apples and buys {i + 2} more. How many?\nA:",
         "target": str(2 * i + 2), "response": f" {2 * i + 2 - (1 - good)}\n",
         "logprobs": None if i % 2 else [-0.4, -1.2], "score": float(good)}
        for i, good in enumerate(right)
    ]  # fmt: skip
