#!/usr/bin/env python3
"""Measure what has not been measured yet, and render the report.

    python run_all.py --suite jan2024
    python run_all.py export proxy-mix-a1.0 served/    one candidate as a folder for `vllm serve`
    python run_all.py trends runs/nightly              a folder of runs as trends, with its steps
    python run_all.py prune runs/nightly --keep 30     delete the oldest runs, never a reference run
    python run_all.py keep runs/nightly/2026-11-24     make a run a reference run

Exit codes: 0 all done; 1 a significant regression, where --fail-on-regression asks for it; 2 the
user's mistake, said in one line; 3 some cells failed or are disputed (the rest is there). 1 comes
before 3: a regression is not hidden by what failed beside it.
"""

import argparse
import os
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

NEEDED = ("jinja2", "matplotlib", "pandas", "psutil", "pyarrow", "pydantic", "yaml")
if missing := [name for name in NEEDED if find_spec(name) is None]:
    print(
        f"run_all.py: this Python lacks {', '.join(missing)}: run `make run`, "
        "or `.venv/bin/python run_all.py` once that has made the environment",
        file=sys.stderr,
    )
    sys.exit(2)

from melange.baselines.cache import cache_dir  # noqa: E402
from melange.baselines.zoo.catalog import open_zoo  # noqa: E402
from melange.harness.contracts import Zoo  # noqa: E402
from melange.harness.engine_choice import EngineChoice  # noqa: E402
from melange.harness.errors import HarnessError, unknown  # noqa: E402
from melange.harness.export import export, serving_command  # noqa: E402
from melange.harness.live_report import LiveReport  # noqa: E402
from melange.harness.manifest import check_resumable, make_manifest  # noqa: E402
from melange.harness.measure.memory import total_bytes  # noqa: E402
from melange.harness.outline import describe, listing  # noqa: E402
from melange.harness.plan import choose_tasks, make_plan, needed_roles  # noqa: E402
from melange.harness.progress import Progress  # noqa: E402
from melange.harness.prompt_lengths import PromptLengths, TaskEntries  # noqa: E402
from melange.harness.records import EngineOptions, Plan, Suite, Task  # noqa: E402
from melange.harness.runner import Runner  # noqa: E402
from melange.harness.store import RunFolder  # noqa: E402
from melange.harness.suite import find_suite, read_suite  # noqa: E402
from melange.harness.yaml_file import read_entry  # noqa: E402
from melange.tasks.registry import load_tasks  # noqa: E402
from melange.tasks.sources import definition_hash, pocket_data, task_sources  # noqa: E402

if TYPE_CHECKING:
    from melange.reports.comparison import Comparison
    from melange.reports.load import Run

ALL_DONE, REGRESSION, USER_MISTAKE, CELLS_FAILED = 0, 1, 2, 3
Device = Literal["cpu", "cuda"]


ENGINE_OPTIONS = {
    "dtype": "float32, bfloat16 or float16",
    "max_model_len": "tokens of context",
    "kv_cache_memory_bytes": "bytes of KV cache",
    "kv_cache_dtype": "auto or fp8, for example",
    "quantization": "vLLM's name of the method",
    "gpu_memory_utilization": "share of a GPU's memory",
}
"""By vLLM's names; a suite, a zoo and its roles may have them below `engine`."""


class Gate(NamedTuple):
    """What a run is compared with, and whether its exit code depends on that."""

    baseline: "Run | None"
    binding: bool


class Extent(NamedTuple):
    """What a run has beside its plan."""

    lengths: PromptLengths
    num_checks: int
    """Examples of each kind of request that are asked of transformers too."""


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    try:
        code = execute(options)
        sys.stdout.flush()
        return code
    except HarnessError as error:
        print(f"run_all.py: {error}", file=sys.stderr)
        return USER_MISTAKE
    except KeyboardInterrupt:
        print("run_all.py: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ALL_DONE


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run_all.py",
        description="Compare ways of combining language models: measure, then render the report.",
    )
    add = parser.add_argument
    add("command", nargs="*", metavar="COMMAND", help=f"instead of a run: {', '.join(COMMANDS)}")
    add("--suite", default="jan2024", metavar="NAME", help="a suite by name, or a YAML file")
    add("--zoo", default="auto", metavar="NAME", help="which checkpoints play the roles")
    add("--only", action="append", default=[], metavar="GLOB", help="candidates or families")
    add("--tasks", action="append", default=[], metavar="GLOB", help="tasks")
    add("--limit", type=positive, metavar="N", help="examples per task")
    add("--seed", type=natural, metavar="N", help="of all that is drawn")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where vLLM runs")
    for option, words in ENGINE_OPTIONS.items():
        add(f"--{option.replace('_', '-')}", metavar="VALUE", help=f"of every engine: {words}")
    add("--out", type=Path, metavar="DIR", help="the run's folder (runs/SUITE-ZOO)")
    add("--list", action="store_true", help="suites, zoos, tasks and the suite's candidates")
    add("--plan", action="store_true", help="what would run, how long, and what is refused")
    add("--report-only", action="store_true", help="render again from the stored results")
    add("--check", type=positive, default=8, metavar="N",
        help="examples of each kind that transformers answers too, for each candidate")  # fmt: skip
    add("--no-check", dest="check", action="store_const", const=0, help="leave that out")
    add("--compare", metavar="REF", help="against another run's folder, or `previous`")
    add("--fail-on-regression", action="store_true", help="exit 1 if it is worse beyond doubt")
    add("--keep", type=positive, metavar="N", help="prune: the newest runs, which stay")
    add("--dry-run", action="store_true", help="prune: say what would go, and delete nothing")
    options = parser.parse_args(arguments)
    if options.fail_on_regression and not options.compare:
        parser.error("--fail-on-regression: against what? add --compare REF")
    check_command(parser, options)
    return options


def check_command(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    forms = {form.split()[0]: len(form.split()) for form in COMMANDS}
    name = options.command[0] if options.command else ""
    if name and forms.get(name) != len(options.command):
        asked = " ".join(options.command)
        parser.error(f"{asked!r} is no command; there are: {', '.join(COMMANDS)}")
    if (name == "prune") != (options.keep is not None):
        parser.error("--keep N goes with `prune DIR`, and `prune DIR` with --keep N")
    if options.dry_run and name != "prune":
        parser.error("--dry-run goes with `prune DIR`; what a run would do, --plan says")


def execute(options: argparse.Namespace) -> int:
    if options.command and options.command[0] in WITH_RUNS:
        return WITH_RUNS[options.command[0]](Path(options.command[1]), options)
    path = find_suite(options.suite)
    suite = read_suite(path)
    device = choose_device(options.device)
    zoo = open_zoo(choose_zoo(options.zoo, suite, device))
    folder = RunFolder(options.out or Path("runs") / f"{suite.name}-{zoo.name}")
    gate = open_gate(options, folder, suite, zoo)
    if options.report_only:
        return report(folder, gate)
    tasks = load_tasks()
    lengths = PromptLengths(
        lambda: task_entries(choose_tasks(suite, zoo.scale, tasks, options.tasks), zoo),
        limit=suite.limit if options.limit is None else options.limit,
        seed=suite.seed if options.seed is None else options.seed,
    )
    plan = make_plan(
        suite,
        zoo,
        tasks,
        where=path,
        only=options.only,
        task_globs=options.tasks,
        limit=options.limit,
        seed=options.seed,
        device=device,
        device_bytes=total_bytes(device),
        done=folder.completed(),
        unavailable=availability,
        engine=engine_options(options),
        lengths=lengths.of,
    )
    if options.command:
        return export_candidate(plan, zoo, *options.command[1:])
    if options.list:
        print(listing(plan))
        return ALL_DONE
    manifest = folder.manifest()
    if manifest is not None:
        check_resumable(manifest, plan, fingerprints(plan, zoo), definitions(plan), folder.path)
    if options.plan:
        print(describe(plan, zoo, folder))
        return ALL_DONE
    return run(plan, zoo, folder, manifest, gate, Extent(lengths, options.check))


def engine_options(options: argparse.Namespace) -> EngineOptions:
    """
    Raises:
        HarnessError: a value is none of the option's.
    """
    given = {name: value for name in ENGINE_OPTIONS if (value := getattr(options, name))}
    return read_entry(EngineOptions, given, "engine options")


def export_candidate(plan: Plan, zoo: Zoo, name: str, out: str) -> int:
    names = [one.name for one in plan.candidates]
    if name not in names:
        raise unknown("candidate", name, names)
    refused = next((cell.refused for cell in plan.cells if cell.candidate == name), "")
    if refused:
        raise HarnessError(f"{name}: {refused}")
    export(plan.candidate(name), zoo, Path(out))
    print(f"{name}: {out}; serve it with `{serving_command(Path(out), plan.device)}`")
    return ALL_DONE


def trends(root: Path, options: argparse.Namespace) -> int:
    from melange.reports.nightly.pages import render_trends

    print(f"trends: {render_trends(root)}")
    return ALL_DONE


def prune(root: Path, options: argparse.Namespace) -> int:
    """Say what goes, then delete it; with --dry-run, only say so."""
    from melange.reports.nightly.retention import delete, plan_pruning

    pruning = plan_pruning(root, keep=options.keep)
    for path, reason in pruning.spared:
        print(f"stays: {path}: {reason}")
    for night in pruning.doomed:
        print(f"{'would go' if options.dry_run else 'goes'}: {night.folder}")
    if not options.dry_run:
        delete(pruning)
    said = "would be deleted" if options.dry_run else "deleted"
    print(f"{len(pruning.doomed)} of {pruning.num_runs} runs {said}")
    return ALL_DONE


def keep(folder: Path, options: argparse.Namespace) -> int:
    from melange.reports.nightly.retention import mark

    mark(folder)
    print(f"{folder}: a reference run, which `prune` leaves alone")
    return ALL_DONE


COMMANDS = ("export CANDIDATE DIR", "trends DIR", "prune DIR", "keep RUN")
WITH_RUNS = {"trends": trends, "prune": prune, "keep": keep}
"""Commands about runs that are there."""


def run(
    plan: Plan,
    zoo: Zoo,
    folder: RunFolder,
    before: dict[str, Any] | None,
    gate: Gate,
    extent: Extent,
) -> int:
    """Measure what is pending, then render. `before` is the manifest of the run resumed."""
    check_something_runs(plan)
    folder.prepare()
    unchecked = unchecked_candidates(plan, folder) if extent.num_checks else set()
    if before is None or unchecked or any(cell.pending for cell in plan.cells):
        print(describe(plan, zoo, folder))
        with closing(Progress(plan)) as progress:
            failed = measure(plan, zoo, folder, before, progress, extent, unchecked)
            progress.doing("rendering the report")
            return report(folder, gate, progress.say) or (CELLS_FAILED if failed else ALL_DONE)
    if folder.report_is_current() and gate.baseline is None:
        print(f"everything is measured: {len(plan.cells)} cells; report: {folder.report}")
        return ALL_DONE
    return report(folder, gate)


def check_something_runs(plan: Plan) -> None:
    """
    Raises:
        HarnessError: every cell is refused.
    """
    if plan.cells and all(cell.refused and not cell.done for cell in plan.cells):
        raise HarnessError(f"nothing can run: {plan.cells[0].candidate}: {plan.cells[0].refused}")


def unchecked_candidates(plan: Plan, folder: RunFolder) -> set[str]:
    """Those that have results, while nothing says what transformers answers."""
    done = {cell.candidate for cell in plan.cells if cell.done and cell.task is not None}
    return done - {one.candidate for one in folder.checks()}


def measure(
    plan: Plan,
    zoo: Zoo,
    folder: RunFolder,
    before: dict[str, Any] | None,
    progress: Progress,
    extent: Extent,
    unchecked: Collection[str],
) -> int:
    """Returns the number of cells that failed or are disputed."""
    started = datetime.now(UTC)
    live_report = LiveReport(folder, progress.say)
    engines = EngineChoice(
        plan.device, plan.suite.workloads, extent.lengths, memory_bytes=total_bytes(plan.device)
    )
    runner = Runner(
        plan,
        zoo,
        folder,
        task_entries(plan.tasks, zoo),
        engines,
        progress,
        live_report,
        extent.num_checks,
        unchecked,
    )

    def write_manifest(finished: datetime | None = None) -> None:
        folder.write_manifest(
            make_manifest(
                plan,
                before=before,
                command=["python", *sys.argv],
                fingerprints=fingerprints(plan, zoo),
                definitions=definitions(plan),
                timings=asdict(runner.spent),
                started=started,
                finished=finished,
                engines=runner.shapes,
                num_checks=extent.num_checks,
                checks=folder.checks(),
            )
        )

    with folder.claimed(), closing(live_report):
        write_manifest()
        try:
            runner.run()
        except BaseException:
            write_manifest()  # with what was spent so far
            raise
        write_manifest(finished=datetime.now(UTC))
    return runner.recorder.num_failed + runner.recorder.num_disputed


def task_entries(tasks: Sequence[Task], zoo: Zoo) -> TaskEntries:
    """The tasks, and what lm-eval loads each of them from."""
    seed = zoo.world_seed
    data = None if seed is None else pocket_data(seed, cache_dir())
    sources = task_sources(tasks, data)
    return {task.name: (task, sources[task.name]) for task in tasks}


def open_gate(options: argparse.Namespace, folder: RunFolder, suite: Suite, zoo: Zoo) -> Gate:
    """Find the run to compare with, and say which it is, before anything is measured."""
    if not options.compare:
        return Gate(baseline=None, binding=False)
    from melange.reports.comparison.baseline import Wanted, check_alike, find_baseline

    stored = (folder.manifest() if options.report_only else None) or {}
    wanted = Wanted(
        folder=folder.path,
        suite=suite.name,
        zoo=zoo.name,
        seed=stored.get("seed", suite.seed if options.seed is None else options.seed),
        limit=stored.get("limit", suite.limit if options.limit is None else options.limit),
    )
    baseline = find_baseline(options.compare, wanted)
    if baseline and options.fail_on_regression and not stored:
        check_alike(baseline, wanted)
    print(
        f"comparing with {baseline.folder}"
        if baseline
        else f"nothing to compare with: no finished run of {suite.name} on {zoo.name} with this "
        f"seed and limit is beside {folder.path} and older than it"
    )
    return Gate(baseline=baseline, binding=options.fail_on_regression)


def report(folder: RunFolder, gate: Gate, say: Callable[[str], None] = print) -> int:
    """Render, and say what the comparison came to."""
    from melange.reports.load import load_run
    from melange.reports.nightly.retention import note_baseline
    from melange.reports.render import render_report
    from melange.reports.report import Report

    if folder.manifest() is None:
        raise HarnessError(f"{folder.path} holds no run; run the suite first, or pass --out")
    rendered = Report(load_run(folder.path), gate.baseline)
    say(f"report: {render_report(rendered)}")
    if gate.baseline:
        note_baseline(folder.path, gate.baseline.folder)
    if rendered.comparison is None:
        return ALL_DONE
    say(rendered.comparison.sentence)
    return verdict(rendered.comparison, gate)


def verdict(comparison: "Comparison", gate: Gate) -> int:
    """A cell that the baseline has and that failed here is no pass; nor is one with no numbers."""
    if not gate.binding:
        return ALL_DONE
    if comparison.regressions:
        return REGRESSION
    if comparison.blind:
        raise HarnessError(
            f"--fail-on-regression, --compare {comparison.old.folder}: {comparison.blind}; "
            "name another run"
        )
    return CELLS_FAILED if comparison.lost else ALL_DONE


def choose_device(asked: str) -> Device:
    """`auto` is cuda where the NVIDIA driver is loaded."""
    has_gpu = Path("/proc/driver/nvidia/version").exists()
    if asked == "cuda" and not has_gpu:
        raise HarnessError("--device cuda: no NVIDIA driver is loaded here; use --device cpu")
    return "cuda" if asked != "cpu" and has_gpu else "cpu"


def choose_zoo(asked: str, suite: Suite, device: Device) -> str:
    """`auto` is the suite's own zoo; where that is `auto` too, one that fits the machine."""
    name = suite.zoo if asked == "auto" else asked
    if name != "auto":
        return name
    return "pocket" if device == "cpu" else "llama2"


def availability(task: Any) -> str:
    from melange.tasks.public.local import availability as data_lacks

    return data_lacks(task) if task.scale == "public" else ""


def fingerprints(plan: Plan, zoo: Zoo) -> dict[str, str]:
    """Of the checkpoints that are there; one that the hub has yet to send has no revision."""
    roles = [role for role in needed_roles(plan.candidates) if role in zoo.roles]
    return {role: zoo.fingerprint(role) for role in roles if zoo.folder(role) is not None}


def definitions(plan: Plan) -> dict[str, str]:
    """By task; another one is another task, whatever its name."""
    return {task.name: definition_hash(task) for task in plan.tasks}


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def natural(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
