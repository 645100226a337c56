"""Suite + zoo -> plan: every cell that will run, and why the others will not."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from melange.harness.checkpoints.adapters import is_adapter
from melange.harness.checkpoints.fit import check_servable
from melange.harness.checkpoints.info import CheckpointInfo, inspect
from melange.harness.checkpoints.source import Checkpoints
from melange.harness.contracts import Zoo
from melange.harness.engine_choice import one_request_bytes, requested, too_short, unfit
from melange.harness.engine_shapes import as_computed
from melange.harness.errors import HarnessError, unknown
from melange.harness.records import Candidate, Cell, EngineOptions, Plan, Suite, Task
from melange.harness.requests import Length

SECONDS_PER_EXAMPLE = 0.0007
SECONDS_PER_VISIT = 0.1
SECONDS_PER_STEP = 0.003
SECONDS_PER_ENGINE = 60.0
"""Seen on two cores with models of a few million parameters; larger models take longer."""
MIX_FACTOR = 2
"""How much slower a candidate of three models was seen to be than its base."""


def make_plan(
    suite: Suite,
    candidates: Sequence[Candidate],
    checkpoints: Checkpoints,
    tasks: Mapping[str, Task],
    *,
    only: Sequence[str] = (),
    task_globs: Sequence[str] = (),
    limit: int | None = None,
    seed: int | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    device_bytes: int | None = None,
    done: Collection[tuple[str, str | None]] = (),
    unavailable: Callable[[Task], str] = lambda task: "",
    engine: EngineOptions = EngineOptions(),  # noqa: B008 (frozen)
    lengths: Callable[[Path], Mapping[str, Length]] = lambda tokenizer: {},
) -> Plan:
    """Decide every cell. `done` are the cells that the run's folder holds already.

    `device_bytes` is all the memory that the device has; None where nobody knows. `engine` is what
    the command line asks of every engine. `lengths` counts the tasks' requests, by task.

    Raises:
        HarnessError: a name is unknown, or a checkpoint that is there is damaged or does not fit.
    """
    zoo = checkpoints.zoo
    candidates = choose_candidates(candidates, only)
    chosen = choose_tasks(suite, zoo.scale, tasks, task_globs)
    reasons = {task.name: unavailable(task) for task in chosen}
    cells: list[Cell] = []
    engines: dict[str, EngineOptions] = {}
    for candidate in candidates:
        asked, refusal = _asked(candidate, zoo, suite.engine, engine)
        engines[candidate.name] = asked
        refusal = (
            refusal
            or refuse(candidate, checkpoints)
            or unserved(candidate, checkpoints, asked, device, device_bytes)
        )
        counted = {} if refusal else count_tokens(candidate, checkpoints, asked, lengths)
        for task in [*chosen, None]:
            name = task.name if task else None
            reason = refusal or (
                task
                and (
                    reasons[task.name]
                    or rendered_twice(candidate, task)
                    or too_short(task.name, counted, asked)
                )
            )
            cells.append(
                Cell(
                    candidate=candidate.name,
                    task=name,
                    refused=reason or "",
                    done=(candidate.name, name) in done,
                )
            )
    return Plan(
        suite=suite,
        zoo=zoo.name,
        scale=zoo.scale,
        tasks=tuple(chosen),
        candidates=tuple(candidates),
        cells=tuple(cells),
        limit=suite.limit if limit is None else limit,
        seed=suite.seed if seed is None else seed,
        device=device,
        engine=engine.over(suite.engine),
        engines=engines,
    )


def choose_candidates(candidates: Sequence[Candidate], only: Sequence[str]) -> list[Candidate]:
    """Those whose name or family matches one of the globs; all if there are no globs."""
    for pattern in only:
        if not any(_matches(candidate, [pattern]) for candidate in candidates):
            known = {c.name for c in candidates} | {c.family for c in candidates}
            raise unknown("candidate", pattern, known)
    return [candidate for candidate in candidates if not only or _matches(candidate, only)]


def choose_tasks(
    suite: Suite, scale: str, tasks: Mapping[str, Task], globs: Sequence[str]
) -> list[Task]:
    """The suite's tasks for a zoo of this scale, in the suite's order, narrowed by the globs."""
    names: dict[str, Task] = {}
    for pattern in suite.tasks.get(scale, ()):
        matches = [task for name, task in tasks.items() if fnmatchcase(name, pattern)]
        if not matches:
            raise HarnessError(f"suite {suite.name}: {unknown('task', pattern, tasks)}")
        names |= {task.name: task for task in matches if task.name not in names}
    if scale not in suite.tasks:
        raise HarnessError(
            f"suite {suite.name} has no tasks for a {scale} zoo; it has them for: "
            f"{', '.join(suite.tasks)}"
        )
    for pattern in globs:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise unknown("task", pattern, names)
    return [
        task
        for name, task in names.items()
        if not globs or any(fnmatchcase(name, pattern) for pattern in globs)
    ]


def refuse(candidate: Candidate, checkpoints: Checkpoints) -> str:
    """Why the candidate cannot run on this zoo; empty where it can, or nobody knows yet."""
    zoo = checkpoints.zoo
    for role in candidate.recipe.inputs:
        if Path(role).is_absolute():
            continue
        if role not in zoo.roles:
            return f"the zoo {zoo.name} has no role {role}"
        if reason := zoo.missing(role):
            return reason
    try:
        for folder in checkpoints.known_folders(candidate.recipe.inputs).values():
            if not is_adapter(folder):
                check_servable(inspect(folder))
        candidate.recipe.check(checkpoints)
    except HarnessError as error:
        return str(error)
    return ""


def _asked(
    candidate: Candidate, zoo: Zoo, suite: EngineOptions, command_line: EngineOptions
) -> tuple[EngineOptions, str]:
    """The engine's options, and why the candidate's roles allow none."""
    try:
        return requested(candidate, zoo, suite=suite, command_line=command_line), ""
    except HarnessError as error:
        return EngineOptions(), str(error)


def unserved(
    candidate: Candidate,
    checkpoints: Checkpoints,
    asked: EngineOptions,
    device: Literal["cpu", "cuda"],
    device_bytes: int | None,
) -> str:
    """Why no engine can serve the candidate so; empty where one can, or nobody knows."""
    served = served_checkpoints(candidate, checkpoints, asked)
    return unfit(asked, served, device) or too_large(
        _served_bytes(candidate, checkpoints.zoo), one_request_bytes(asked, served), device_bytes
    )


def too_large(weights_bytes: int, request_bytes: int, device_bytes: int | None) -> str:
    """Why the device cannot hold the weights and the keys and values of one request."""
    if device_bytes is None or weights_bytes + request_bytes <= device_bytes:
        return ""
    cache = f" and {_gib(request_bytes)} for a request's KV cache" if request_bytes else ""
    return f"needs {_gib(weights_bytes)} for weights{cache}, the device has {_gib(device_bytes)}"


def count_tokens(
    candidate: Candidate,
    checkpoints: Checkpoints,
    asked: EngineOptions,
    lengths: Callable[[Path], Mapping[str, Length]],
) -> Mapping[str, Length]:
    """By task, where a context was asked for that could be too short."""
    served = served_checkpoints(candidate, checkpoints, asked)
    return lengths(served[0].path) if asked.max_model_len and served else {}


def rendered_twice(candidate: Candidate, task: Task) -> str:
    """Why the task's prompts do not fit the candidate's own; empty where they do."""
    if task.chat and candidate.recipe.own_prompts:
        return (
            f"{task.name} renders its prompts through the base's chat template, "
            "own_prompt would through the expert's as well; leave one of them out"
        )
    return ""


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"


def served_checkpoints(
    candidate: Candidate, checkpoints: Checkpoints, asked: EngineOptions
) -> list[CheckpointInfo]:
    """Those that will have the engine's shapes, as far as they are there."""
    roles = candidate.recipe.served_roles(checkpoints)
    folders = checkpoints.known_folders(roles)
    return [as_computed(folders[role], asked) for role in roles if role in folders]


def needed_roles(candidates: Iterable[Candidate]) -> list[str]:
    """Roles of the zoo that the candidates are made from, each once."""
    roles = dict.fromkeys(role for one in candidates for role in one.recipe.inputs)
    return [role for role in roles if not Path(role).is_absolute()]


def estimate_seconds(plan: Plan, zoo: Zoo) -> float:
    """About how long the pending cells take, checkpoints included."""
    running = [one for one in plan.candidates if plan.pending(one.name)]
    seconds = zoo.wall_seconds(needed_roles(running))
    for candidate in running:
        for cell in plan.pending(candidate.name):
            seconds += (
                plan.suite.rounds * visit_seconds(plan, candidate)
                if cell.task is None
                else task_seconds(plan, candidate)
            )
    return seconds + (SECONDS_PER_ENGINE if running else 0)


def task_seconds(plan: Plan, candidate: Candidate) -> float:
    """About how long a candidate takes over a task."""
    return _mix_factor(candidate) * (plan.limit or 500) * SECONDS_PER_EXAMPLE


def visit_seconds(plan: Plan, candidate: Candidate) -> float:
    """About how long one round of all workloads takes."""
    steps = sum(one.output_tokens for one in plan.suite.workloads)
    return _mix_factor(candidate) * (SECONDS_PER_VISIT + SECONDS_PER_STEP * steps)


def _mix_factor(candidate: Candidate) -> int:
    return MIX_FACTOR if candidate.recipe.num_models > 1 else 1


def estimate_bytes(plan: Plan, zoo: Zoo) -> int:
    """At most this many bytes of weights are in one engine at once; the engine comes on top."""
    running = [one for one in plan.candidates if plan.pending(one.name)]
    return max((_weights_bytes(one, zoo) for one in running), default=0)


def estimate_disk_bytes(plan: Plan, checkpoints: Checkpoints) -> int:
    """Of the checkpoints that are built for the run, at most."""
    running = [one for one in plan.candidates if plan.pending(one.name)]
    built = [one for one in running if checkpoints.builds(one.recipe.method)]
    return sum(_weights_bytes(one, checkpoints.zoo) for one in built)


def _weights_bytes(candidate: Candidate, zoo: Zoo) -> int:
    """At most."""
    known = [zoo.weights_bytes(role) or 0 for role in needed_roles([candidate])]
    return sum(known) if candidate.family == "moe" else _served_bytes(candidate, zoo)


def _served_bytes(candidate: Candidate, zoo: Zoo) -> int:
    """At least: a mixture assembled from its inputs may hold more than the largest of them."""
    known = [zoo.weights_bytes(role) or 0 for role in needed_roles([candidate])]
    return candidate.recipe.served_bytes(known)


def _matches(candidate: Candidate, globs: Sequence[str]) -> bool:
    return any(
        fnmatchcase(candidate.name, pattern) or fnmatchcase(candidate.family, pattern)
        for pattern in globs
    )
