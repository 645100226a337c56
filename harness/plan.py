"""Suite + zoo -> plan: the cells that will run, and why the others are refused."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from melange.harness.estimates import served_bytes
from melange.harness.evaluators import EVALUATORS
from melange.harness.recipe import Ability
from melange.harness.records import Candidate, Cell, EngineOptions, Plan, Suite, Task
from melange.harness.requests import Length
from melange.harness.roles import Role
from melange.harness.task_metrics import meaning

ASKED = {
    Ability.GENERATE: "a text",
    Ability.CHOOSE: "a choice",
    Ability.SCORE: "log-probabilities",
    Ability.REWARD: "a reward",
    Ability.ROUTE: "choices of experts",
}


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What narrows a suite, and where it runs."""

    only: Sequence[str] = ()
    """Globs of candidates' names or families; all candidates if empty."""
    task_globs: Sequence[str] = ()
    limit: int | None = None
    race: int | None = None
    seed: int | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    device_bytes: int | None = None
    """Total memory of the device; None if unknown."""
    done: Collection[tuple[str, str | None]] = ()
    """Cells that the run's folder holds already."""
    unavailable: Callable[[Task], str] = lambda task: ""
    """Why a task is not available here; empty if it is."""
    engine: EngineOptions = field(default_factory=EngineOptions)
    """The command line's options, for every engine."""
    lengths: Callable[[Path], Mapping[str, Length]] = lambda tokenizer: {}
    """Counts the tasks' requests with a tokenizer, by task."""
    notes: tuple[str, ...] = ()
    """What the zoo lacks for the suite, and its invalid relations."""
    roles: Sequence[Role] = ()


def make_plan(
    suite: Suite,
    candidates: Sequence[Candidate],
    checkpoints: Checkpoints,
    tasks: Mapping[str, Task],
    options: PlanOptions = PlanOptions(),
) -> Plan:
    """Decide every cell.

    Raises:
        HarnessError: a name is unknown, or a checkpoint is damaged or does not fit.
    """
    zoo = checkpoints.zoo
    candidates = choose_candidates(candidates, options.only)
    chosen = choose_tasks(suite, zoo.scale, tasks, options.task_globs)
    reasons = {task.name: undeclared(task) or options.unavailable(task) for task in chosen}
    cells: list[Cell] = []
    engines: dict[str, EngineOptions] = {}
    for one in candidates:
        asked, refusal = _asked(one, zoo, suite.engine, options.engine)
        refusal = refusal or refuse(one, checkpoints) or unserved(one, checkpoints, asked, options)
        counted = {} if refusal else count_tokens(one, checkpoints, asked, options.lengths)
        can = abilities(one, checkpoints)
        refused = {
            task.name: reasons[task.name]
            or unable(one, task, can)
            or rendered_twice(one, task)
            or too_short(task.name, counted, asked)
            for task in chosen
            if concerns(task, can)
        }
        cells += _cells(one, refused | {None: untimed(suite, can)}, refusal, options.done)
        engines[one.name] = asked
    return Plan(
        suite=suite, zoo=zoo.name, scale=zoo.scale, tasks=tuple(chosen),
        candidates=tuple(candidates), cells=tuple(cells), roles=tuple(options.roles),
        limit=options.limit or suite.limit, race=options.race or suite.race, device=options.device,
        seed=suite.seed if options.seed is None else options.seed,
        engine=options.engine.over(suite.engine), engines=engines, notes=options.notes,
    )  # fmt: skip


def _cells(
    candidate: Candidate,
    refused: Mapping[str | None, str],
    refusal: str,
    done: Collection[tuple[str, str | None]],
) -> Iterator[Cell]:
    """`refused`: reasons by task, None for speed and memory; `refusal`: a reason that holds for
    every cell of the candidate."""
    for task, reason in refused.items():
        yield Cell(
            candidate=candidate.name,
            task=task,
            refused=refusal or reason,
            done=(candidate.name, task) in done,
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
    """Why the candidate cannot run on this zoo; empty if it can, as far as is known."""
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
    """The engine's options, or why the candidate's roles contradict each other."""
    try:
        return requested(candidate, zoo, suite=suite, command_line=command_line), ""
    except HarnessError as error:
        return EngineOptions(), str(error)


def unserved(
    candidate: Candidate,
    checkpoints: Checkpoints,
    asked: EngineOptions,
    options: PlanOptions,
) -> str:
    """Why no engine can serve the candidate as asked; empty if one can, as far as is known."""
    served = served_checkpoints(candidate, checkpoints, asked)
    weights = served_bytes(candidate, checkpoints.zoo)
    return unfit(asked, served, options.device) or too_large(
        weights, one_request_bytes(asked, served), options.device_bytes
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
    """Lengths by task, if a context length was asked for, which may be too short."""
    served = served_checkpoints(candidate, checkpoints, asked)
    return lengths(served[0].path) if asked.max_model_len and served else {}


def abilities(candidate: Candidate, checkpoints: Checkpoints) -> frozenset[Ability]:
    """All of them if they cannot be determined: the candidate is refused for another reason."""
    try:
        return candidate.recipe.abilities_of(checkpoints)
    except HarnessError:
        return frozenset(Ability)


def concerns(task: Task, can: Collection[Ability]) -> bool:
    """Whether a candidate with these abilities gets a cell for the task, even if it is refused."""
    kind = EVALUATORS[task.evaluator]
    return not kind.optional or kind.needs(task) in can


def undeclared(task: Task) -> str:
    """Why it is not known in what unit the task is measured; empty if it is."""
    if task.unit or meaning(task.primary_metric):
        return ""
    return (
        f"{task.name}: the unit of {task.primary_metric} is not known; declare it in the task's "
        "entry: `unit: fraction` for a share of 1, else the unit's name, and `higher_is_better`"
    )


def unable(candidate: Candidate, task: Task, can: Collection[Ability]) -> str:
    """Why the candidate lacks the ability that the task needs; empty if it has it."""
    needed = EVALUATORS[task.evaluator].needs(task)
    if needed in can:
        return ""
    kind = "reward model" if Ability.REWARD in can else candidate.recipe.kind
    return f"{task.name} asks for {ASKED[needed]}, which a {kind} does not give"


def untimed(suite: Suite, can: Collection[Ability]) -> str:
    """Why the suite's workloads cannot be run with the candidate; empty if they can."""
    if Ability.GENERATE in can or not suite.workloads:
        return ""
    return "workloads time how text is generated, and it generates none"


def rendered_twice(candidate: Candidate, task: Task) -> str:
    """Why prompts would pass through two chat templates; empty if they would not."""
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
    """The checkpoints whose shapes the engine will have, as far as they are ready."""
    roles = candidate.recipe.served_roles(checkpoints)
    folders = checkpoints.known_folders(roles)
    return [as_computed(folders[role], asked) for role in roles if role in folders]


def _matches(candidate: Candidate, globs: Sequence[str]) -> bool:
    return any(
        fnmatchcase(candidate.name, pattern) or fnmatchcase(candidate.family, pattern)
        for pattern in globs
    )
