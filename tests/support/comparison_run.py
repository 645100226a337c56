"""Pairs of runs for tests of comparisons: an invented run twice, and changes to plant."""

import json
import math
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from report_run import WORKLOADS, Shape, samples_of, write_lines, write_run, write_samples

REFERENCE = "base"
SHAPE = Shape(candidates=12, tasks=3, examples=60)


def write_pair(folder: Path, shape: Shape = SHAPE) -> tuple[Path, Path]:
    """Two runs that differ in the noise of their rounds only."""
    old, new = folder / "old", folder / "new"
    write_run(old, shape)
    _write_last_samples(old, shape)
    edit_manifest(old, lambda manifest: _complete(manifest))
    shutil.copytree(old, new)
    later = {"started": "2024-02-01T10:00:00", "finished": "2024-02-01T10:40:00"}
    edit_manifest(new, lambda manifest: manifest.update(later))
    write_rounds(old, seed=shape.seed + 1)
    write_rounds(new, seed=shape.seed + 2)
    return old, new


def _write_last_samples(folder: Path, shape: Shape) -> None:
    """`write_run` leaves out those of the last candidate."""
    last = measurements(folder)[-1]["candidate"]
    for line in measurements(folder):
        if line["candidate"] == last and line.get("task") and line.get("value") is not None:
            right = round(line["value"] * shape.examples)
            scores = [True] * right + [False] * (shape.examples - right)
            write_samples(folder, last, line["task"], samples_of(scores))


def _complete(manifest: dict[str, Any]) -> None:
    """Adds what `write_run` leaves out: fingerprints of roles, definitions, a reference."""
    roles = {role for one in manifest["candidates"] for role in _roles(one["recipe"])}
    manifest["zoo"]["fingerprints"] = {role: f"{role}-1" for role in sorted(roles)}
    manifest["task_definitions"] = {task["name"]: "aaaa" for task in manifest["tasks"]}
    manifest["task_rows"] = {task["name"]: "cccc" for task in manifest["tasks"]}
    manifest["suite"]["reference"] = REFERENCE


def _roles(recipe: dict[str, Any]) -> list[str]:
    return recipe.get("inputs") or [member["role"] for member in recipe["members"]]


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def measurements(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "measurements.jsonl").open()]


def timed(folder: Path) -> list[str]:
    """Candidates with speeds."""
    lines = measurements(folder)
    return list(dict.fromkeys(x["candidate"] for x in lines if x.get("workload")))


def write_rounds(folder: Path, *, seed: int, noise: float = 0.02, rounds: int = 3) -> None:
    """Speeds differ between candidates; rounds and the machine vary by `noise`."""
    draw = random.Random(seed)
    candidates = timed(folder)
    times = {name: random.Random(name).uniform(0.5, 2.0) for name in candidates}
    lines = []
    for number in range(rounds):
        machine = math.exp(draw.gauss(0, 3 * noise))
        for workload, prompt, output, requests, _ in WORKLOADS:
            walls = {name: times[name] * machine * math.exp(draw.gauss(0, noise))
                     for name in candidates}  # fmt: skip
            lines += [
                {"schema_version": 1, "candidate": name, "workload": workload, "round": number,
                 "started": "2024-01-31T10:00:00", "prompt_tokens": prompt * requests,
                 "output_tokens": output * requests, "wall_sec": wall,
                 "prefill_tokens_per_sec": 9000.0, "decode_tokens_per_sec": 900.0,
                 "ttft_sec": [0.04], "latency_sec": [1.3], "tpot_sec": [0.01],
                 "reference_wall_sec": walls[REFERENCE],
                 "calibration_sec": 0.01 * machine * math.exp(draw.gauss(0, noise / 2))}
                for name, wall in walls.items()
            ]  # fmt: skip
    _write_rounds(folder, lines)


def _write_rounds(folder: Path, lines: list[dict[str, Any]]) -> None:
    (folder / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def slow_down(folder: Path, factor: float, *candidates: str) -> None:
    """Rounds take `factor` times as long, for these candidates, or for all if none is given."""
    lines = [json.loads(line) for line in (folder / "rounds.jsonl").open()]
    for line in lines:
        if line["candidate"] in candidates or not candidates:
            line["wall_sec"] *= factor
        if line["reference_wall_sec"] and (REFERENCE in candidates or not candidates):
            line["reference_wall_sec"] *= factor
    _write_rounds(folder, lines)


def samples(folder: Path, candidate: str, task: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(
        folder / "samples" / candidate / f"{task}.parquet"
    ).to_pylist()
    return rows


def forget(folder: Path, candidate: str, task: str, number: int) -> list[int]:
    """Makes the first `number` right answers wrong, in the samples and in the record."""
    rows = samples(folder, candidate, task)
    right = [row for row in rows if row["score"] == 1.0][:number]
    assert len(right) == number, f"{candidate} has only {len(right)} right on {task}"
    for row in right:
        row |= {"score": 0.0, "response": " now something else\n"}
    write_samples(folder, candidate, task, rows)
    lines = measurements(folder)
    for line in lines:
        if line["candidate"] == candidate and line.get("task") == task:
            line["value"] = sum(row["score"] for row in rows) / len(rows)
    write_lines(folder, lines)
    return [row["example"] for row in right]
