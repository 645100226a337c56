"""Takes evidence out of a run, in ways that a gate has to notice."""

import json
import shutil
from pathlib import Path
from typing import Any

from comparison_run import REFERENCE, edit_manifest, forget, measurements, samples, timed
from report_run import write_lines, write_samples

TASK = "knowledge"


def drop_lines(folder: Path, **matches: Any) -> None:
    """Drops the measurements whose fields all match."""
    kept = [
        line
        for line in measurements(folder)
        if any(line.get(key) != value for key, value in matches.items())
    ]
    write_lines(folder, kept)


def lose_candidate(folder: Path) -> None:
    drop_lines(folder, candidate=REFERENCE)
    shutil.rmtree(folder / "samples" / REFERENCE)
    edit_manifest(folder, _without_reference)
    lines = [json.loads(line) for line in (folder / "rounds.jsonl").open()]
    kept = [line for line in lines if line["candidate"] != REFERENCE]
    (folder / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))


def _without_reference(manifest: dict[str, Any]) -> None:
    manifest["candidates"] = [one for one in manifest["candidates"] if one["name"] != REFERENCE]
    manifest["cells"] = [one for one in manifest["cells"] if one["candidate"] != REFERENCE]


def stop_half_way(folder: Path) -> None:
    lines = measurements(folder)
    write_lines(folder, lines[: len(lines) // 2])


def skip_everywhere(folder: Path) -> None:
    """The plan refuses a candidate that the baseline has."""
    drop_lines(folder, candidate=REFERENCE)
    edit_manifest(folder, _refuse_reference)


def _refuse_reference(manifest: dict[str, Any]) -> None:
    for cell in manifest["cells"]:
        if cell["candidate"] == REFERENCE:
            cell["refused"] = "its weights do not fit"


def lose_task(folder: Path) -> None:
    drop_lines(folder, task=TASK)
    edit_manifest(folder, _without_task)


def _without_task(manifest: dict[str, Any]) -> None:
    manifest["tasks"] = [one for one in manifest["tasks"] if one["name"] != TASK]
    manifest["cells"] = [one for one in manifest["cells"] if one["task"] != TASK]


def rename_tasks(folder: Path) -> None:
    """Other tasks than the baseline's, with nothing else changed."""
    for name in ("manifest.json", "measurements.jsonl"):
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace(f'"{TASK}', f'"other_{TASK}'))
    for path in (folder / "samples").glob(f"*/{TASK}*.parquet"):
        path.rename(path.with_name(f"other_{path.name}"))


def lose_samples(folder: Path) -> None:
    """The means are there, and 30 points apart."""
    forget(folder, REFERENCE, TASK, 12)
    (folder / "samples" / REFERENCE / f"{TASK}.parquet").unlink()


def change_a_default(folder: Path) -> None:
    edit_manifest(folder, lambda m: m["candidates"][-1]["recipe"].update(method="slerp"))


def replace_weights(folder: Path) -> None:
    edit_manifest(folder, lambda m: m["zoo"]["fingerprints"].update(large_base="other"))


def another_machine(folder: Path) -> None:
    edit_manifest(folder, lambda m: m["hardware"].update(cpu="another"))


def lose_rounds_of_one(folder: Path) -> None:
    drop_lines(folder, candidate=timed(folder)[1], workload="8/8")
    drop_lines(folder, candidate=timed(folder)[1], metric="total_tokens_per_sec")


def lose_weights_of_one(folder: Path) -> None:
    drop_lines(folder, candidate=REFERENCE, metric="weights_bytes")


def end_prompts_in_a_blank(folder: Path) -> None:
    for path in sorted((folder / "samples").glob("*/*.parquet")):
        candidate, task = path.parent.name, path.stem
        rows = samples(folder, candidate, task)
        changed = [row | {"prompt": row["prompt"] + " "} for row in rows]
        write_samples(folder, candidate, task, changed)


LOSSES = {
    lose_candidate: "the run does not have the candidate",
    stop_half_way: "the run stopped before it came to it",
    skip_everywhere: "skipped in this run: its weights do not fit",
    lose_task: "the run does not have the task",
    rename_tasks: "the run does not have the task",
    lose_samples: "no samples were kept in this run",
    change_a_default: "another recipe: method is slerp, was",
    replace_weights: "another checkpoint: large_base is other, was",
    another_machine: "the machine differs: another cpu",
    lose_rounds_of_one: "not run in this run",
    lose_weights_of_one: "not run in this run",
}
"""How evidence gets lost -> what the gate says of it."""
