"""Comparison with another run, and the report that shows it."""

from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from melange.commands.exits import ALL_DONE, CELLS_FAILED, REGRESSION
from melange.commands.study import Study
from melange.harness.errors import HarnessError
from melange.harness.runs.writer import RunFolder

if TYPE_CHECKING:
    from melange.reports.analysis.comparison import Comparison
    from melange.reports.analysis.run import Run


class Gate(NamedTuple):
    """What a run is compared with, and whether its exit code depends on that."""

    baseline: "Run | None"
    binding: bool


def open_gate(options: Namespace, study: Study, *, stored: bool) -> Gate:
    """Find the run to compare with, and print it, before anything is measured.

    `stored`: take seed and limit from the run's folder rather than from the options.
    """
    if options.fail_on_regression and not options.compare:
        options.usage_error("--fail-on-regression needs a run to compare with; add --compare REF")
    if not options.compare:
        return Gate(baseline=None, binding=False)
    from melange.harness.runs.baseline import Wanted, check_alike, find_baseline
    from melange.reports.analysis.run import of_stored

    manifest = study.folder.manifest() if stored else None
    wanted = Wanted(
        folder=study.folder.path,
        suite=study.suite.name,
        zoo=study.zoo.name,
        seed=manifest.seed if manifest and manifest.seed is not None else study.seed,
        limit=manifest.limit if manifest else study.limit,
    )
    baseline = find_baseline(options.compare, wanted)
    if baseline and options.fail_on_regression and not manifest:
        check_alike(baseline, wanted)
    print(
        f"comparing with {baseline.folder}"
        if baseline
        else f"nothing to compare with: beside {wanted.folder} there is no earlier finished run of "
        f"{wanted.suite} on {wanted.zoo} with this seed and limit"
    )
    return Gate(
        baseline=of_stored(baseline) if baseline else None, binding=options.fail_on_regression
    )


def render(folder: RunFolder, gate: Gate, say: Callable[[str], None] = print) -> int:
    """Render the report, and print the result of the comparison."""
    from melange.harness.runs.retention import note_baseline
    from melange.reports.analysis.run import load_run
    from melange.reports.render import render_report
    from melange.reports.view import RunView

    if folder.manifest() is None:
        raise HarnessError(f"{folder.path} holds no run; run the suite first, or pass --out")
    rendered = RunView(load_run(folder.path), gate.baseline)
    say(f"report: {render_report(rendered)}")
    if gate.baseline:
        note_baseline(folder.path, gate.baseline.folder)
    if rendered.comparison is None:
        return ALL_DONE
    say(rendered.comparison.sentence)
    return verdict(rendered.comparison, gate)


def verdict(comparison: "Comparison", gate: Gate) -> int:
    """The exit code. A cell that the baseline has and that failed here, or has no numbers, does not
    pass."""
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
