"""Which cells of a run were planned, and which of them have ended."""

from collections.abc import Collection, Iterable

from melange.harness.records import Measurement, Outcome
from melange.harness.runs.current import SPEED_FAILURE, CellKey
from melange.harness.runs.manifest import Manifest


def planned_cells(manifest: Manifest) -> dict[CellKey, None]:
    """Cells that the plan did not refuse, in its order.

    A manifest that lists no cells planned all of its candidates on all of its tasks.
    """
    if manifest.cells:
        return {(one.candidate, one.task): None for one in manifest.cells if not one.refused}
    speed_too = [None] if manifest.workloads else []
    subjects = [*(task.name for task in manifest.tasks), *speed_too]
    return {(one.name, subject): None for one in manifest.candidates for subject in subjects}


def ended_cells(held: Iterable[Measurement], manifest: Manifest) -> set[CellKey]:
    """Cells with a result, a failure or a refusal. One that was cut short has not ended: its last
    line is missing, or that of a workload.

    `held` are the current lines.
    """
    lines: dict[CellKey, list[Measurement]] = {}
    for one in held:
        lines.setdefault((one.candidate, one.task), []).append(one)
    workloads = {one.name for one in manifest.workloads}
    return {
        cell
        for cell, known in lines.items()
        if _is_whole(known, set() if cell[1] is not None else workloads)
    }


def _is_whole(lines: list[Measurement], workloads: Collection[str]) -> bool:
    last = lines[-1]
    if last.outcome is Outcome.COMPLETED and not last.ends_cell:
        return False
    never_timed = any(one.value is None and one.metric == SPEED_FAILURE for one in lines)
    return never_timed or {one.workload for one in lines} >= set(workloads)
