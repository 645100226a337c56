"""What a run's folder holds of a cell, and whether that is still the cell.

A cell is its recipe on its task, or under the workloads. A changed checkpoint, task, seed, limit or
engine option makes another run of it (`manifest.check_resumable`); a changed recipe or workload is
measured again.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from melange.harness.recipe import known_recipe
from melange.harness.records import Candidate, Measurement, Outcome, Suite, Workload

Cell = tuple[str, str | None]
"""Candidate and task; None for its speed and memory."""

RECIPE = "its recipe has changed since; to be measured again"
GONE = "the suite has no such workload any more"
WORKLOADS = "the suite's workloads have changed since; to be measured again"


def changed_cells(
    manifest: Mapping[str, Any], suite: Suite, candidates: Sequence[Candidate]
) -> dict[Cell, str]:
    """Those that the folder holds as something else, and why."""
    recipes = {one.name: one.recipe for one in candidates}
    found: dict[Cell, str] = {}
    tasks = [one["name"] for one in manifest.get("tasks", ())]
    same_loads = _workloads(manifest) == set(suite.workloads)
    for stored in manifest.get("candidates", ()):
        name = stored["name"]
        if not same_loads:
            found[name, None] = WORKLOADS
        if name in recipes and recipes[name] != known_recipe(stored["recipe"]):
            found |= dict.fromkeys([(name, task) for task in (*tasks, None)], RECIPE)
    return found


def _workloads(manifest: Mapping[str, Any]) -> set[Workload]:
    asked = manifest.get("suite", {}).get("workloads", ())
    return {Workload.model_validate(one) for one in asked}


def withdrawn(
    lines: Sequence[Measurement], cells: Mapping[Cell, str], workloads: Collection[str]
) -> list[Measurement]:
    """In place of the lines of these cells: the same without a value, and why.

    `workloads` are those that the suite has now.
    """
    latest = {(one.candidate, one.task, one.workload, one.metric): one for one in lines}
    empty = dict.fromkeys(("value", "n", "ci_low", "ci_high"))
    found = []
    for one in latest.values():
        reason = cells.get((one.candidate, one.task))
        if reason and one.outcome is not Outcome.SKIPPED:
            gone = one.workload is not None and one.workload not in workloads
            changes = {"outcome": Outcome.SKIPPED, "reason": GONE if gone else reason}
            found.append(one.model_copy(update=empty | changes))
    return found
