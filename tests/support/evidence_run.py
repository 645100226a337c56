"""Invented runs with known differences."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from report_run import write_lines, write_samples

from melange.harness.stats import score_interval
from melange.reports.analysis.board import scope_of_means
from melange.reports.analysis.evidence import Evidence
from melange.reports.analysis.run import load_run

CANDIDATES = ("large_base", "large_mix", "small_base", "proxy-mix")
NUM_EXAMPLES = 80


def checkpoint(role: str) -> dict[str, Any]:
    return {"name": role, "family": "single",
            "recipe": {"kind": "weights", "method": "checkpoint", "inputs": [role]}}  # fmt: skip


def mix(name: str, **coefficients: float) -> dict[str, Any]:
    members = [{"role": role, "coefficient": value} for role, value in coefficients.items()]
    return {"name": name, "family": "proxy",
            "recipe": {"kind": "logit_mix", "method": "proxy", "members": members}}  # fmt: skip


def entry(name: str, *, higher_is_better: bool = True) -> dict[str, Any]:
    return {"name": name, "lm_eval": name, "scale": "pocket", "domain": "knowledge",
            "output_type": "multiple_choice", "primary_metric": "acc",
            "higher_is_better": higher_is_better}  # fmt: skip


def draw(skills: Mapping[str, float], seed: int = 0) -> dict[str, np.ndarray]:
    """Each candidate's 0/1 scores; the same examples are hard for all."""
    rng = np.random.default_rng(seed)
    hardness_N = rng.random(NUM_EXAMPLES)
    return {
        name: 1.0 * (0.8 * hardness_N + 0.2 * rng.random(NUM_EXAMPLES) < skill)
        for name, skill in skills.items()
    }


def write(
    folder: Path,
    scores: Mapping[str, Mapping[str, np.ndarray]],
    *,
    candidates: list[dict[str, Any]] | None = None,
    tasks: list[dict[str, Any]] | None = None,
    reference: str = "large_base",
    clusters: int = 0,
) -> Path:
    """Writes a run from scores by task and candidate, with samples that match its records."""
    default = [checkpoint(role) for role in CANDIDATES[:3]]
    default += [mix("proxy-mix", large_base=1.0, small_mix=1.0, small_base=-1.0)]
    suite = {"name": "made", "tasks": {}, "candidates": [], "reference": reference}
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {"schema_version": 1, "suite": suite, "candidates": candidates or default,
                "tasks": tasks or [entry(task) for task in scores]}  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    lines = []
    for task, by_candidate in scores.items():
        for name, values_N in by_candidate.items():
            lines.append(record(name, task, values_N))
            names = [f"fact {i // clusters}" if clusters else "" for i in range(len(values_N))]
            write_samples(folder, name, task, samples(values_N, names))
    write_lines(folder, lines)
    return folder


def record(name: str, task: str, values_N: np.ndarray) -> dict[str, Any]:
    found = score_interval(values_N)
    return {"candidate": name, "family": "any", "task": task, "metric": "acc",
            "value": found.mean, "n": found.n, "ci_low": found.low,
            "ci_high": found.high}  # fmt: skip


def samples(values_N: np.ndarray, clusters: list[str]) -> list[dict[str, Any]]:
    return [
        {"example": i, "prompt": "?", "target": "yes", "response": "yes", "logprobs": None,
         "score": float(score), "cluster": cluster}
        for i, (score, cluster) in enumerate(zip(values_N, clusters, strict=True))
    ]  # fmt: skip


def evidence_of(folder: Path) -> Evidence:
    run = load_run(folder)
    return Evidence(run, scope_of_means(run).tasks)
