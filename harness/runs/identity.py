"""Whether a run's folder still holds the cells of a plan.

A cell's identity is its recipe, the checkpoints in it, its engine's options, and what is measured:
the task's definition and documents, or the workloads and the reference candidate. What all cells of
a folder share may not change (`check_resumable`). A cell whose own part has changed is measured
again (`changed_cells`), after its old values have been withdrawn (`withdrawn`).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from melange.harness.errors import HarnessError
from melange.harness.records import Measurement, Outcome, Plan
from melange.harness.runs.current import CellKey, current
from melange.harness.runs.manifest import Manifest
from melange.harness.runs.manifest_content import Inputs
from melange.harness.workloads import asked_name

RECIPE = "its recipe has changed since; to be measured again"
ENGINE = "its engine's options have changed since; to be measured again"
WORKLOADS = "the suite's workloads have changed since; to be measured again"
REFERENCE = "the candidate that speed refers to has changed since; to be measured again"
GONE = "the suite has no such workload any more"


def changed_cells(manifest: Manifest, plan: Plan) -> dict[CellKey, str]:
    """Cells whose identity has changed, and why."""
    tasks = [one.name for one in manifest.tasks]
    found: dict[CellKey, str] = {}
    if reason := _changed_workloads(manifest, plan):
        found |= dict.fromkeys([(one.name, None) for one in manifest.candidates], reason)
    for name, reason in _changed_candidates(manifest, plan):
        found |= dict.fromkeys([(name, task) for task in (*tasks, None)], reason)
    return found


def to_do_again(plan: Plan, changed: Collection[CellKey]) -> Plan:
    """The plan, with these cells not done."""
    cells = (
        one.model_copy(update={"done": one.done and (one.candidate, one.task) not in changed})
        for one in plan.cells
    )
    return plan.model_copy(update={"cells": tuple(cells)})


def _changed_workloads(manifest: Manifest, plan: Plan) -> str:
    if manifest.suite is None:
        return ""
    if set(manifest.suite.workloads) != set(plan.suite.workloads):
        return WORKLOADS
    reference = plan.suite.reference
    changed = dict(_changed_candidates(manifest, plan))
    return REFERENCE if manifest.suite.reference != reference or reference in changed else ""


def _changed_candidates(manifest: Manifest, plan: Plan) -> Iterator[tuple[str, str]]:
    stored = {one.name: one.recipe for one in manifest.candidates}
    refused = {one.name for one in plan.candidates} - {
        one.candidate for one in plan.cells if not one.refused
    }
    for one in plan.candidates:
        asked = manifest.engine_options.get(one.name)
        if stored.get(one.name, one.recipe) != one.recipe:
            yield one.name, RECIPE
        elif asked not in (None, plan.engines[one.name].given()) and one.name not in refused:
            yield one.name, ENGINE


def withdrawn(
    lines: Sequence[Measurement], cells: Mapping[CellKey, str], workloads: Collection[str]
) -> list[Measurement]:
    """Lines that supersede those of these cells: the same without a value, with the reason.

    `workloads` are those that the suite has now.
    """
    empty = dict.fromkeys(("value", "n", "ci_low", "ci_high"))
    found = []
    for one in current(lines):
        reason = cells.get((one.candidate, one.task))
        if reason and one.outcome is not Outcome.SKIPPED:
            gone = one.workload is not None and asked_name(one.workload) not in workloads
            changes = {"outcome": Outcome.SKIPPED, "reason": GONE if gone else reason}
            found.append(one.model_copy(update=empty | changes))
    return found


def check_resumable(manifest: Manifest, plan: Plan, now: Inputs, folder: Path) -> None:
    """Check that the folder holds the same run: suite, zoo, checkpoints, tasks and documents,
    limit, seed, device and engine options. What is unknown on one side is not compared.

    Raises:
        HarnessError: it holds another run, whose records are not comparable with new ones.
    """
    reason = _other_run(manifest, plan) or _other_inputs(manifest, now)
    if reason:
        raise HarnessError(f"{folder} holds a run with {reason}; pass another --out")


def _other_run(manifest: Manifest, plan: Plan) -> str:
    suite = manifest.suite.name if manifest.suite else None
    for name, then, now in (
        ("suite", suite, plan.suite.name),
        ("zoo", manifest.zoo.get("name"), plan.zoo),
        ("limit", manifest.limit, plan.limit),
        ("rows of the limit", manifest.limit and manifest.limit_rows, plan.limit and "drawn"),
        ("seed", manifest.seed, plan.seed),
        ("device", manifest.device, plan.device),
        ("engine options", manifest.engine, plan.engine.given()),
    ):
        if then != now:
            return f"{name} {_said(then)}, this one has {_said(now)}"
    return ""


def _other_inputs(manifest: Manifest, now: Inputs) -> str:
    if role := _differing(manifest.fingerprints, now.fingerprints):
        return f"another {role} (its recipe or files have changed)"
    if task := _differing(manifest.task_definitions, now.definitions):
        return f"another version of {task} (its YAML or code has changed)"
    if task := _differing(manifest.task_rows, now.rows):
        return f"other documents of {task} (its data set has changed)"
    return ""


def _differing(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    return next((name for name, value in then.items() if now.get(name, value) != value), "")


def _said(value: Any) -> str:
    return "none" if value is None or value == {} else str(value)
