"""Text of `list` and `plan`: what exists, and what a run would do."""

from collections import Counter
from collections.abc import Iterable

from melange.harness.checkpoints.source import Checkpoints
from melange.harness.engine_shapes import ENGINE_BYTES
from melange.harness.estimates import estimate_bytes, estimate_disk_bytes, estimate_seconds
from melange.harness.machine import computes_bfloat16
from melange.harness.plan import served_checkpoints
from melange.harness.records import Plan
from melange.harness.runs.writer import RunFolder
from melange.harness.suite import suite_names


def listing(plan: Plan, zoos: Iterable[str]) -> str:
    lines = [f"suites: {', '.join(suite_names())}", f"zoos: {', '.join(zoos)}", ""]
    lines += [f"tasks of {plan.suite.name} on the zoo {plan.zoo}:"]
    lines += [f"  {one.name:34} {one.domain:18} {one.primary_metric}" for one in plan.tasks]
    lines += ["", f"candidates of {plan.suite.name}:"]
    lines += [f"  {one.name:34} {one.family:18} {one.summary}" for one in plan.candidates]
    return "\n".join(lines)


def _refused(plan: Plan) -> list[tuple[str, str]]:
    """Candidate and reason; `all` for a reason that holds for every candidate."""
    refused = {(cell.candidate, cell.refused) for cell in plan.cells if cell.refused}
    times = Counter(reason for _, reason in refused)
    everyone = {reason for reason, number in times.items() if number == len(plan.candidates) > 1}
    rest = sorted((name, reason) for name, reason in refused if reason not in everyone)
    return [("all", reason) for reason in sorted(everyone)] + rest


SLOW_BFLOAT16 = (
    "computed in bfloat16, which takes 2 to 4 times as long as float32 on this processor; "
    "--dtype float32 computes all in that"
)


def _in_bfloat16(plan: Plan, checkpoints: Checkpoints, name: str) -> bool:
    served = served_checkpoints(plan.candidate(name), checkpoints, plan.engines[name])
    return any(one.dtype == "bfloat16" for one in served)


def describe(plan: Plan, checkpoints: Checkpoints, folder: RunFolder) -> str:
    """What will run, how long it takes, what is refused and why."""
    pending = [cell for cell in plan.cells if cell.pending]
    candidates = {cell.candidate for cell in pending}
    minutes = estimate_seconds(plan, checkpoints.zoo) / 60
    disk = estimate_disk_bytes(plan, checkpoints) / 2**20
    weights, engine = estimate_bytes(plan, checkpoints.zoo) / 2**20, ENGINE_BYTES / 2**30
    lines = [
        f"{plan.suite.name} on the zoo {plan.zoo} ({plan.device}) -> {folder.path}",
        f"  to do: {len(pending)} cells of {len(candidates)} candidates, about {minutes:.1f} min",
        f"  memory: up to {weights:,.0f} MiB of weights and {engine:.0f} GiB beside them an engine",
        f"  disk: up to {disk:,.0f} MiB of checkpoints that are built, and deleted at the end",
        f"  done: {sum(cell.done for cell in plan.cells)} cells",
    ]
    if plan.race is not None:
        lines.append(f"  race: candidates that {plan.race} others are shown to beat are stopped")
    for name in dict.fromkeys(cell.candidate for cell in pending):
        served = plan.candidate(name).recipe.served_as(checkpoints)
        number = sum(cell.candidate == name for cell in pending)
        lines.append(f"  {name}: {number} cells" + (f" ({served})" if served else ""))
    lines += [f"  refused: {who}: {reason}" for who, reason in _refused(plan)]
    lines += [f"  {note}" for note in plan.notes]
    slow = [
        name
        for name in candidates
        if plan.device == "cpu" and _in_bfloat16(plan, checkpoints, name)
    ]
    if slow and not computes_bfloat16():
        lines.append(f"  slow: {', '.join(sorted(slow))}: {SLOW_BFLOAT16}")
    return "\n".join(lines)
