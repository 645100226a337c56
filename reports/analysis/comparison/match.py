"""Decides which cells of two runs can be compared, and says in one line why others cannot.

Whatever a number depends on must be equal, except what the comparison is meant to test: a new
version of the engine or of this program is reported, and prevents no comparison.
"""

from collections.abc import Iterator
from pathlib import Path

from melange.harness.recipe import Recipe
from melange.harness.records import Outcome, Task
from melange.reports.analysis.run import Reading, Run

SCORED_BY = (
    "output_type", "primary_metric", "filter", "num_fewshot", "chat", "higher_is_better",
)  # fmt: skip
"""Fields of a task's record that its scores depend on."""
COMPUTED_BY = ("dtype", "quantization", "kv_cache_dtype")
"""Engine options that scores depend on as well as speeds."""
HARDWARE = ("cpu", "cores", "gpu")


def gap(old: Reading, new: Reading) -> str:
    """Why one of the numbers is missing; empty if neither is."""
    if old.value is None and old.outcome == new.outcome:
        return f"{_outcome(new)} in both runs: {new.reason}"
    if old.value is None:
        return f"{_outcome(old)} in the baseline: {old.reason}"
    if new.value is None:
        return f"{_outcome(new)} in this run: {new.reason}"
    return ""


def is_lost(old: Reading, new: Reading) -> bool:
    """Whether the baseline has the number, and this run failed or transformers disputes it."""
    return old.value is not None and new.outcome in (Outcome.FAILED, Outcome.DISPUTED)


def quality_refusal(old: Run, new: Run, candidate: str, task: str) -> str:
    return (
        _candidate_refusal(old, new, candidate)
        or _differs("limit of examples", old.manifest.limit, new.manifest.limit)
        or _task_refusal(old, new, task)
    )


def memory_refusal(old: Run, new: Run, candidate: str) -> str:
    return _candidate_refusal(old, new, candidate) or _differs(
        "device", old.manifest.device, new.manifest.device
    )


def load_refusal(old: Run, new: Run) -> str:
    """Why what candidates need is not comparable: it is stated at another load."""
    return "" if old.load == new.load else "another load: the heaviest workload is another one"


def machine_refusal(old: Run, new: Run) -> str:
    """Why speeds, times and memory peaks are not comparable: another machine."""
    device = _differs("device", old.manifest.device, new.manifest.device)
    parts = (
        _differs(key, old.manifest.hardware.get(key), new.manifest.hardware.get(key))
        for key in HARDWARE
    )
    other = device or next((reason for reason in parts if reason), "")
    return f"the machine differs: {other}" if other else ""


def speed_refusal(old: Run, new: Run, candidate: str, workload: str) -> str:
    if old.workloads.get(workload) != new.workloads.get(workload):
        return f"another workload: {workload} has other lengths or another number of requests"
    return _candidate_refusal(old, new, candidate) or machine_refusal(old, new)


def _candidate_refusal(old: Run, new: Run, candidate: str) -> str:
    """Why the candidate is not the same: another seed, recipe or checkpoint."""
    before, now = old.recipes.get(candidate), new.recipes.get(candidate)
    if before is None or now is None:
        where = "the baseline" if before is None else "this run"
        return f"the manifest of {where} does not describe the candidate"
    if before.recipe != now.recipe:
        return _recipe_refusal(before.recipe, now.recipe)
    if reason := _computing_refusal(old, new, candidate):
        return reason
    return _differs("seed", old.manifest.seed, new.manifest.seed) or next(
        (reason for role in now.recipe.inputs if (reason := _checkpoint_refusal(old, new, role))),
        "",
    )


def _recipe_refusal(before: Recipe, now: Recipe) -> str:
    """Names the first option that differs, such as a default of another version."""
    then, here = (dict(_leaves(one.model_dump(mode="json"))) for one in (before, now))
    changed = [key for key in {**here, **then} if here.get(key) != then.get(key)]
    if not changed:  # a default that only one of them writes down
        return "another recipe"
    value, was = _said(here.get(changed[0])), _said(then.get(changed[0]))
    return f"another recipe: {changed[0]} is {value}, was {was}"


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Path and value of each leaf: `options.config.models.0.parameters.density`."""
    if not isinstance(value, dict | list) or not value:
        yield path, value
        return
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in parts:
        yield from _leaves(part, f"{path}.{key}" if path else str(key))


def _computing_refusal(old: Run, new: Run, candidate: str) -> str:
    """Why dtypes or quantization differ. Runs that record no engines used the checkpoints' own."""
    before, now = (run.manifest.engines.get(candidate) for run in (old, new))
    if before is None or now is None:
        return ""
    parts = (_differs(key, before.get(key), now.get(key)) for key in COMPUTED_BY)
    return next((reason for reason in parts if reason), "")


def _checkpoint_refusal(old: Run, new: Run, role: str) -> str:
    if Path(role).is_absolute():
        return ""  # a folder is identified by its path: no run records its contents
    before, now = (run.manifest.fingerprints.get(role) for run in (old, new))
    if before is None or now is None:
        where = "the baseline" if before is None else "this run"
        return f"{where} does not record which checkpoint {role} was"
    return "" if before == now else f"another checkpoint: {role} is {now}, was {before}"


def _task_refusal(old: Run, new: Run, task: str) -> str:
    before, now = old.tasks.get(task), new.tasks.get(task)
    if before is None or now is None:
        where = "the baseline" if before is None else "this run"
        return f"the manifest of {where} does not describe the task"
    changed = next((key for key in SCORED_BY if getattr(before, key) != getattr(now, key)), None)
    if changed:
        return f"another task: {_differs(changed, getattr(before, changed), getattr(now, changed))}"
    return _definition_refusal(old, new, now)


def _definition_refusal(old: Run, new: Run, task: Task) -> str:
    """Runs that record no definitions are compared by their prompts and targets alone."""
    before, now = (run.manifest.task_definitions.get(task.name) for run in (old, new))
    if before is None or now is None or before == now:
        return ""
    return f"another version of the task: its definition is {now}, was {before}"


def same_documents(old: Run, new: Run, task: str) -> bool:
    """Whether both runs record the task's definition and its documents, and they are the same."""
    recorded = [
        (run.manifest.task_definitions.get(task), run.manifest.task_rows.get(task))
        for run in (old, new)
    ]
    return recorded[0] == recorded[1] and all(recorded[0])


def _differs(what: str, before: object, now: object) -> str:
    if before == now:
        return ""
    return f"another {what.replace('_', ' ')}: {_said(now)}, was {_said(before)}"


def _said(value: object) -> str:
    return "none" if value is None else str(value)


def _outcome(reading: Reading) -> str:
    return {"absent": "not run", "unneeded": "not needed"}.get(reading.outcome, reading.outcome)
