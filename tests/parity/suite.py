"""Writes the zoo and the suite of an architecture, as a user would."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from parity.rows import write_rows

TASK_WEIGHTS = {"large_a": 0.7, "large_b": 0.5}
EXPERT_PROMPTS = {
    "large_a": "Salt, lamps and a goat.",
    "large_b": "def area(width, height):",
    "large_base": "Where does the river run?",
}
"""Role -> a text that the router should send to this expert."""
EXPERTS_PER_TOKEN = 2
KINDS: Mapping[str, tuple[str, ...]] = {
    "single": ("large_base", "large_a", "large_b"),
    "linear merge": ("linear",),
    "task arithmetic": ("task",),
    "SWA": ("swa",),
    "proxy": ("proxy",),
    "mixture": ("mixture",),
}
"""Column of the table -> candidates of the suite. Mixtures are made of dense models only."""
TASKS = ("arc_easy", "triviaqa")
MERGES: Mapping[str, Mapping[str, Any]] = {
    "linear": {
        "merge_method": "linear",
        "models": [
            {"model": role, "parameters": {"weight": 0.5}} for role in ("large_a", "large_b")
        ],
    },
    "task": {
        "merge_method": "task_arithmetic",
        "base_model": "large_base",
        "models": [
            {"model": role, "parameters": {"weight": weight}}
            for role, weight in TASK_WEIGHTS.items()
        ],
    },
}


def write_files(home: Path, folders: Mapping[str, Path], *, with_mixture: bool) -> None:
    """Writes a zoo, a suite and two recipes."""
    candidates: list[dict[str, Any]] = [
        {"method": "checkpoint", "roles": list(KINDS["single"])},
        *({"mergekit": f"{name}-of-two.yaml", "name": name} for name in MERGES),
        {"method": "swa", "run": "large_run", "start": 0.0, "name": "swa"},
        {
            "method": "proxy",
            "base": "large_base",
            "expert": "small_tuned",
            "antiexpert": "small_base",
            "name": "proxy",
        },
    ]
    experts = [{"role": role, "prompts": [text]} for role, text in EXPERT_PROMPTS.items()]
    mixture = {"method": "moe", "base": "large_base", "experts": experts, "name": "mixture"}
    if with_mixture:
        candidates.append(mixture | {"experts_per_token": EXPERTS_PER_TOKEN})
    suite = {"tasks": {"public": list(TASKS)}, "rounds": 1, "candidates": candidates}
    zoo = {"kind": "public", "roles": {role: str(path) for role, path in folders.items()}}
    files = {"zoo": zoo, "suite": suite} | {
        f"{name}-of-two": merge for name, merge in MERGES.items()
    }
    for name, content in files.items():
        (home / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    write_rows(home / "data")
