"""A cell whose definition has changed is measured again, never relabelled."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import run_here

from melange.harness.records import Measurement, Outcome, Plan
from melange.harness.runs.current import current
from melange.harness.runs.identity import GONE, RECIPE, WORKLOADS, changed_cells
from melange.harness.runs.manifest_content import RunState, make_manifest
from melange.harness.runs.writer import RunFolder
from melange.tasks.registry import load_tasks
from melange.tasks.sources import rows_hash

SUITE: dict[str, Any] = {
    "title": "T",
    "tasks": {"pocket": ["pocket_mc_trade"]},
    "reference": "large_base",
    "candidates": [
        {"method": "checkpoint", "roles": ["large_base"]},
        {"method": "swa", "run": "large_base", "name": "mean"},
    ],
    "workloads": [
        {"name": "short", "prompt_tokens": 8, "output_tokens": 8, "num_requests": 2},
        {"name": "other", "prompt_tokens": 8, "output_tokens": 8, "num_requests": 1},
    ],
}
LONG = {"name": "long", "prompt_tokens": 64, "output_tokens": 8, "num_requests": 2}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A run of the suite whose records are complete."""
    write(tmp_path, SUITE)
    folder = RunFolder(tmp_path / "out")
    folder.prepare()
    folder.append(lines())
    write_manifest(tmp_path, planned(tmp_path))
    return tmp_path


def lines() -> list[Measurement]:
    found = []
    for name in ("large_base", "mean"):
        common: dict[str, Any] = {"candidate": name, "family": "single"}
        found.append(Measurement(**common, task="pocket_mc_trade", metric="acc", value=0.5))
        found += [
            Measurement(**common, workload=one, metric="total_tokens_per_sec", value=9.0)
            for one in ("short", "other")
        ]
    return found


def planned(folder: Path) -> Plan:
    from zoo_of_folders import plan_of

    from melange.baselines.zoo.catalog import open_zoo
    from melange.harness.suite import read_suite

    return plan_of(read_suite(folder / "suite.yaml"), open_zoo("pocket"), load_tasks())


def write_manifest(place: Path, plan: Plan, **changes: Any) -> None:
    from melange.baselines.zoo.catalog import open_zoo
    from melange.commands.study import inputs

    now = datetime.now(UTC)
    state = RunState(
        command=[], inputs=inputs(plan, open_zoo("pocket"))._replace(fingerprints={}),
        timings={}, started=now, finished=now, engines={},
    )  # fmt: skip
    RunFolder(place / "out").write_manifest(make_manifest(plan, None, state) | changes)


def write(folder: Path, suite: dict[str, Any]) -> None:
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite))


def to_do(folder: Path) -> str:
    done = run_here("plan", "--suite", folder / "suite.yaml", "--zoo", "pocket",
                    "--out", folder / "out")  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_the_same_is_done(place: Path) -> None:
    assert "0 cells of 0 candidates" in to_do(place)


def test_a_workload_that_is_added_or_changed_times_every_candidate_again(place: Path) -> None:
    write(place, SUITE | {"workloads": [*SUITE["workloads"], LONG]})
    assert "2 cells of 2 candidates" in to_do(place)
    write(place, SUITE | {"workloads": [{**SUITE["workloads"][0], "prompt_tokens": 100}]})
    assert "2 cells of 2 candidates" in to_do(place)


def test_a_recipe_that_is_edited_is_measured_again_whole(place: Path) -> None:
    edited = {**SUITE["candidates"][1], "start": 0.75}
    write(place, SUITE | {"candidates": [SUITE["candidates"][0], edited]})
    said = to_do(place)
    assert "2 cells of 1 candidates" in said
    assert "mean: 2 cells" in said


def test_another_engine_measures_its_candidate_again_whole(place: Path) -> None:
    plan = planned(place)
    asked = {name: one.given() for name, one in plan.engines.items()}
    write_manifest(place, plan, engine_options=asked | {"mean": {"dtype": "bfloat16"}})
    said = to_do(place)
    assert "2 cells of 1 candidates" in said
    assert "mean: 2 cells" in said


def test_what_an_earlier_version_did_not_keep_is_not_compared(place: Path) -> None:
    write_manifest(place, planned(place), engine_options={}, task_rows={})
    assert "0 cells of 0 candidates" in to_do(place)


def test_another_reference_times_every_candidate_again(place: Path) -> None:
    write(place, SUITE | {"reference": "mean"})
    assert "2 cells of 2 candidates" in to_do(place)


def test_a_reference_that_is_another_recipe_times_every_candidate_again(place: Path) -> None:
    write(place, SUITE | {"reference": "mean"})
    write_manifest(place, planned(place))
    edited = {**SUITE["candidates"][1], "start": 0.75}
    write(place, SUITE | {"reference": "mean", "candidates": [SUITE["candidates"][0], edited]})
    said = to_do(place)
    assert "large_base: 1 cells" in said
    assert "mean: 2 cells" in said


def test_other_documents_are_another_run(place: Path) -> None:
    stored = RunFolder(place / "out").manifest()
    assert stored is not None
    assert stored.task_rows.keys() == {"pocket_mc_trade"}
    write_manifest(place, planned(place), task_rows={"pocket_mc_trade": "0123456789ab"})
    done = run_here("plan", "--suite", place / "suite.yaml", "--zoo", "pocket",
                    "--out", place / "out")  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "other documents of pocket_mc_trade (its data set has changed)" in line


def test_documents_are_known_by_their_content(tmp_path: Path) -> None:
    task = load_tasks()["pocket_mc_trade"]

    def hash_of(content: str, name: str = "rows.jsonl") -> str:
        (tmp_path / name).write_text(content)
        files = {"data_files": {"test": str(tmp_path / name)}}
        return rows_hash(task, [{"include": task.lm_eval, "dataset_kwargs": files}])

    assert hash_of("a") == hash_of("a", "elsewhere.jsonl") != hash_of("b")
    assert rows_hash(task, [{"include": task.lm_eval}]) == "", "lm-eval fetches them itself"


def test_what_was_of_something_else_loses_its_value_before_it_is_measured(place: Path) -> None:
    folder = RunFolder(place / "out")
    stored = folder.manifest()
    assert stored is not None
    write(place, SUITE | {"workloads": [{**SUITE["workloads"][0], "mixed": True}]})
    cells = changed_cells(stored, planned(place))
    assert cells == dict.fromkeys([("large_base", None), ("mean", None)], WORKLOADS)
    folder.withdraw(cells | {("mean", "pocket_mc_trade"): RECIPE}, ["short"])
    held = {
        (one.candidate, one.task or one.workload): one for one in current(folder.measurements())
    }
    assert held["large_base", "pocket_mc_trade"].value == 0.5
    for key, reason in {("large_base", "short"): WORKLOADS, ("large_base", "other"): GONE,
                        ("mean", "pocket_mc_trade"): RECIPE}.items():  # fmt: skip
        assert (held[key].value, held[key].outcome) == (None, Outcome.SKIPPED)
        assert held[key].reason == reason
    before = (place / "out" / "measurements.jsonl").read_text()
    folder.withdraw(cells, ["short"])
    assert (place / "out" / "measurements.jsonl").read_text() == before
    assert json.loads(before.splitlines()[0])["value"] == 0.5
    folder.append([one.model_copy(update={"value": 7.0}) for one in lines()[1:2]])
    assert ("large_base", None) in folder.completed()
