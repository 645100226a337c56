"""A suite on a zoo, from the command line's options, and its plan."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from melange.baselines.catalog import expand, methods
from melange.baselines.zoo.catalog import open_zoo
from melange.commands.arguments import ENGINE_OPTIONS
from melange.harness.cache import cache_dir
from melange.harness.checkpoints.source import Checkpoints
from melange.harness.contracts import Zoo
from melange.harness.errors import HarnessError, unknown
from melange.harness.estimates import needed_roles
from melange.harness.evaluators import TaskEntries
from melange.harness.measure.memory import total_bytes
from melange.harness.plan import PlanOptions, choose_tasks, make_plan
from melange.harness.prompt_lengths import PromptLengths
from melange.harness.records import Candidate, EngineOptions, Plan, Suite, Task
from melange.harness.roles import LARGEST, Roles
from melange.harness.runs.current import CellKey
from melange.harness.runs.identity import changed_cells, check_resumable, to_do_again
from melange.harness.runs.manifest import Manifest
from melange.harness.runs.manifest_content import Inputs
from melange.harness.runs.writer import RunFolder
from melange.harness.suite import find_suite, read_suite
from melange.harness.yaml_file import read_entry
from melange.tasks.conventions import as_agreed
from melange.tasks.names import check_names
from melange.tasks.registry import load_tasks
from melange.tasks.scoring import unscorable
from melange.tasks.sources import definition_hash, pocket_data, rows_hash, task_sources

Device = Literal["cpu", "cuda"]


class Study(NamedTuple):
    path: Path
    """Of the suite's file."""
    suite: Suite
    checkpoints: Checkpoints
    folder: RunFolder
    device: Device
    limit: int | None
    seed: int

    @property
    def zoo(self) -> Zoo:
        return self.checkpoints.zoo


class Planned(NamedTuple):
    plan: Plan
    lengths: PromptLengths
    changed: Mapping[CellKey, str]
    """Cells whose stored results are of something else, and why."""


def open_study(options: Namespace) -> Study:
    """
    Raises:
        HarnessError: there is no such suite, zoo or device.
    """
    path = find_suite(options.suite)
    suite = read_suite(path)
    device = choose_device(options.device)
    zoo = open_zoo(choose_zoo(options.zoo, suite, device))
    folder = RunFolder(options.out or Path("runs") / f"{suite.name}-{zoo.name}")
    limit = suite.limit if options.limit is None else options.limit
    seed = suite.seed if options.seed is None else options.seed
    return Study(path, suite, Checkpoints(zoo, methods()), folder, device, limit, seed)


def make_study_plan(study: Study, options: Namespace) -> Planned:
    tasks = as_agreed(load_tasks(), study.suite)
    chosen = choose_tasks(study.suite, study.zoo.scale, tasks, options.tasks)
    check_names(chosen)
    lengths = PromptLengths(
        lambda: task_entries(chosen, study.zoo), limit=study.limit, seed=study.seed
    )
    roles = Roles(study.zoo.related())
    candidates, lacks = expand(study.suite.candidates, roles, where=str(study.path))
    suite = with_reference(study.suite, candidates, roles, lacks)
    plan = make_plan(
        suite,
        candidates,
        study.checkpoints,
        tasks,
        PlanOptions(
            only=options.only,
            task_globs=options.tasks,
            limit=options.limit,
            race=options.race,
            seed=options.seed,
            device=study.device,
            device_bytes=total_bytes(study.device),
            done=study.folder.completed(options.race or study.suite.race),
            unavailable=availability,
            engine=engine_options(options),
            lengths=lengths.of,
            notes=(*roles.problems, *lacks),
            roles=roles,
        ),
    )
    manifest = study.folder.manifest()
    changed = changed_cells(manifest, plan) if manifest else {}
    return Planned(to_do_again(plan, changed), lengths, changed)


def with_reference(
    suite: Suite, candidates: Sequence[Candidate], roles: Roles, lacks: Sequence[str]
) -> Suite:
    """The suite with a reference candidate for speeds: its own, or the largest base.

    Raises:
        HarnessError: there is no such candidate, though the zoo lacks nothing.
    """
    if suite.reference:
        names = [one.name for one in candidates]
        if suite.reference not in names and not lacks:
            raise HarnessError(
                f"suite {suite.name}: {unknown('reference', suite.reference, names)}"
            )
        return suite
    plain = {one.recipe.plain_role: one.name for one in candidates if one.recipe.plain_role}
    largest = roles.bases(LARGEST, where=lambda one: one.name in plain)
    reference = plain[largest[0].name] if largest else next(iter(plain.values()), "")
    return suite.model_copy(update={"reference": reference})


def check_folder(study: Study, plan: Plan) -> Manifest | None:
    """The manifest of the run that would be resumed.

    Raises:
        HarnessError: the folder holds another run.
    """
    manifest = study.folder.manifest()
    if manifest is not None:
        check_resumable(manifest, plan, inputs(plan, study.zoo), study.folder.path)
    return manifest


def engine_options(options: Namespace) -> EngineOptions:
    """
    Raises:
        HarnessError: a value is not valid for its option.
    """
    given = {name: value for name in ENGINE_OPTIONS if (value := getattr(options, name))}
    return read_entry(EngineOptions, given, "engine options")


def choose_device(asked: str) -> Device:
    """`auto` is cuda if the NVIDIA driver is loaded."""
    has_gpu = Path("/proc/driver/nvidia/version").exists()
    if asked == "cuda" and not has_gpu:
        raise HarnessError("--device cuda: no NVIDIA driver is loaded here; use --device cpu")
    return "cuda" if asked != "cpu" and has_gpu else "cpu"


def choose_zoo(asked: str, suite: Suite, device: Device) -> str:
    """`auto` is the suite's own zoo; if that is `auto` too, one that fits the machine."""
    name = suite.zoo if asked == "auto" else asked
    if name != "auto":
        return name
    return "pocket" if device == "cpu" else "llama2"


def availability(task: Any) -> str:
    from melange.tasks.public.local import availability as data_lacks

    return unscorable(task) or (data_lacks(task) if task.scale == "public" else "")


def task_entries(tasks: Sequence[Task], zoo: Zoo) -> TaskEntries:
    """By name, the tasks and the sources that lm-eval loads them from."""
    return entries_of(tasks, zoo.world_seed)


def entries_of(tasks: Sequence[Task], world_seed: int | None) -> TaskEntries:
    """`world_seed`: of the pocket tasks; None for a zoo without any."""
    data = None if world_seed is None else pocket_data(world_seed, cache_dir())
    sources = task_sources(tasks, data)
    return {task.name: (task, sources[task.name]) for task in tasks}


def inputs(plan: Plan, zoo: Zoo) -> Inputs:
    """Hashes of the plan's inputs, as they are now."""
    asked = {cell.task for cell in plan.cells if not cell.refused}
    entries = task_entries([task for task in plan.tasks if task.name in asked], zoo)
    return task_inputs(plan.tasks, entries)._replace(fingerprints=fingerprints(plan, zoo))


def task_inputs(tasks: Sequence[Task], entries: TaskEntries) -> Inputs:
    """Without checkpoints. `entries`: the tasks whose documents are asked for."""
    rows = {name: rows_hash(task, sources) for name, (task, sources) in entries.items()}
    return Inputs(
        fingerprints={},
        definitions={task.name: definition_hash(task) for task in tasks},
        rows={name: known for name, known in rows.items() if known},
    )


def fingerprints(plan: Plan, zoo: Zoo) -> dict[str, str]:
    """Of the checkpoints that exist; one that has yet to be downloaded has no revision."""
    roles = [role for role in needed_roles(plan.candidates) if role in zoo.roles]
    return {role: zoo.fingerprint(role) for role in roles if zoo.folder(role) is not None}
