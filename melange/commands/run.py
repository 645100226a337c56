"""`run`: measure what has not been measured yet, and render the report."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Collection
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from typing import NamedTuple

from melange.commands import listing, plan, report
from melange.commands.arguments import add_comparison, add_study, positive
from melange.commands.exits import ALL_DONE, CELLS_MISSING
from melange.commands.gate import Gate, open_gate, render
from melange.commands.study import (
    Planned,
    Study,
    check_folder,
    inputs,
    make_study_plan,
    open_study,
    task_entries,
)
from melange.harness.checkpoints.built import deleted_at_the_end
from melange.harness.contracts import ConnectExecutor
from melange.harness.engine_choice import EngineChoice
from melange.harness.errors import HarnessError
from melange.harness.evaluators import EVALUATORS
from melange.harness.executors import executor_named
from melange.harness.live_report import LiveReport
from melange.harness.measure.memory import total_bytes
from melange.harness.outline import describe
from melange.harness.progress import Progress
from melange.harness.records import Plan
from melange.harness.runner import Runner
from melange.harness.runs.manifest import Manifest
from melange.harness.runs.manifest_content import RunState, make_manifest
from melange.harness.runs.writer import RunFolder

NAME = "run"
HELP = "measure what has not been measured yet, and render the report"
EXAMPLE = "--suite smoke --limit 20"
INSTEAD = {"list": listing, "plan": plan, "report_only": report}


class Extent(NamedTuple):
    """What a run needs in addition to its study and its plan."""

    before: Manifest | None
    """The manifest of the run that is resumed."""
    num_checks: int
    """Examples of each kind of request that transformers answers too."""
    unchecked: Collection[str]
    """Candidates that have results, but were not checked against transformers."""
    connect: ConnectExecutor
    """To where jobs run."""


def add_arguments(parser: ArgumentParser) -> None:
    add_study(parser)
    parser.add_argument("--keep-built", action="store_true",
                        help="keep merges and averages in the cache, for the next run")  # fmt: skip
    parser.add_argument("--executor", default="local", metavar="NAME",
                        help="where jobs run: local is this machine (local)")  # fmt: skip
    checks = parser.add_argument_group("the run's check of itself").add_argument
    asked = "examples of each kind, for each candidate, that transformers answers too (8)"
    checks("--check", type=positive, default=8, metavar="N", help=asked)
    checks("--no-check", dest="check", action="store_const", const=0, help="skip this check")
    add_comparison(parser)
    instead = parser.add_argument_group("instead of a run").add_mutually_exclusive_group()
    for option, command in INSTEAD.items():
        name = f"--{option.replace('_', '-')}"
        instead.add_argument(name, action="store_true", help=f"as the command `{command.NAME}`")


def execute(options: Namespace) -> int:
    for option, command in INSTEAD.items():
        if getattr(options, option):
            return command.execute(options)
    connect = executor_named(options.executor)
    study = open_study(options)
    if not options.keep_built:
        study.checkpoints.artifacts = study.folder.path
    gate = open_gate(options, study, stored=False)
    planned = make_study_plan(study, options)
    before = check_folder(study, planned.plan)
    unchecked = unchecked_candidates(planned.plan, study.folder) if options.check else set()
    return run(
        study, planned, gate, Extent(before, options.check, unchecked, connect), options.prog
    )


def run(study: Study, planned: Planned, gate: Gate, extent: Extent, prog: str) -> int:
    """Measure what is pending, then render."""
    plan, folder = planned.plan, study.folder
    check_something_runs(plan)
    folder.prepare()
    if extent.before is None or extent.unchecked or any(cell.pending for cell in plan.cells):
        print(describe(plan, study.checkpoints, folder))
        with closing(Progress(plan)) as progress:
            failed = measure(study, planned, progress, extent, prog)
            progress.doing("rendering the report")
            return render(folder, gate, progress.say) or (CELLS_MISSING if failed else ALL_DONE)
    if folder.report_is_current() and gate.baseline is None:
        print(f"everything is measured: {len(plan.cells)} cells; report: {folder.report}")
        return ALL_DONE
    return render(folder, gate)


def check_something_runs(plan: Plan) -> None:
    """
    Raises:
        HarnessError: every cell is refused.
    """
    if plan.cells and all(cell.refused and not cell.done for cell in plan.cells):
        raise HarnessError(f"nothing can run: {plan.cells[0].candidate}: {plan.cells[0].refused}")


def unchecked_candidates(plan: Plan, folder: RunFolder) -> set[str]:
    repeatable = {one.name for one in plan.tasks if EVALUATORS[one.evaluator].repeatable}
    done = {cell.candidate for cell in plan.cells if cell.done and cell.task in repeatable}
    return done - {one.candidate for one in folder.checks()}


def measure(study: Study, planned: Planned, progress: Progress, extent: Extent, prog: str) -> int:
    """Returns the number of cells that failed or are disputed."""
    plan, folder = planned.plan, study.folder
    started = datetime.now(UTC)
    live_report = LiveReport(folder, progress.say)
    entries, memory = task_entries(plan.tasks, study.zoo), total_bytes(plan.device)
    engines = EngineChoice(plan.device, plan.suite.workloads, planned.lengths, memory)
    runner = Runner(
        plan, study.checkpoints, folder, entries, engines, progress, live_report,
        extent.connect, extent.num_checks, extent.unchecked,
    )  # fmt: skip

    def write_manifest(finished: datetime | None = None) -> None:
        state = RunState(
            command=_as_typed(prog),
            inputs=inputs(plan, study.zoo),
            timings=asdict(runner.timings),
            started=started,
            finished=finished,
            engines=runner.shapes,
            measured_as=runner.measured_as,
            num_checks=extent.num_checks,
            checks=folder.checks(),
            references=study.zoo.reference,
        )
        folder.write_manifest(make_manifest(plan, extent.before, state))

    with folder.claimed(), deleted_at_the_end(folder.path), closing(live_report):
        # Before the manifest describes their new state.
        folder.withdraw(planned.changed, [one.name for one in plan.suite.workloads])
        write_manifest()
        try:
            runner.run()
        except BaseException:
            write_manifest()  # with the timings so far
            raise
        write_manifest(finished=datetime.now(UTC))
    return runner.recorder.num_failed + runner.recorder.num_disputed


def _as_typed(prog: str) -> list[str]:
    """The command line, for whoever wants to repeat the run."""
    start = [prog] if prog == "melange" else ["python", sys.argv[0]]
    return [*start, *sys.argv[1:]]
