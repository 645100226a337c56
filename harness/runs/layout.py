"""Names of the files in a run's folder, and beside it."""

from pathlib import Path

MANIFEST = "manifest.json"
MEASUREMENTS = "measurements.jsonl"
ROUNDS = "rounds.jsonl"
OPEN_LOOPS = "open_loops.jsonl"
CHECKS = "checks.jsonl"
ENGINE_LOG = "engine.log"
SAMPLES = "samples"
REPORT = "report"
COMPARISON = "comparison.json"
"""Its key "baseline" names the run that this one was compared with."""
KEEP = "keep"
"""An empty file of this name marks a reference run."""
TRENDS = "trends"
"""The trend pages' folder, beside the runs."""


def samples_path(folder: Path, candidate: str, task: str) -> Path:
    return folder / SAMPLES / candidate / f"{task}.parquet"
