"""Comparison with another run, and the report that shows it."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from melange.commands.exits import ALL_DONE, CELLS_MISSING, REGRESSION
from melange.commands.study import Study
from melange.harness.errors import HarnessError
from melange.harness.runs.writer import RunFolder

if TYPE_CHECKING:
    from melange.reports.analysis.comparison import Comparison
    from melange.reports.analysis.comparison.waivers import Waiver
    from melange.reports.analysis.run import Run


REMEDY = (
    "the gate has not passed: measure what is missing, or accept that it is with "
    "--waive CANDIDATE:SUBJECT"
)


class Gate(NamedTuple):
    """What a run is compared with, and whether its exit code depends on that."""

    baseline: "Run | None"
    binding: bool
    waivers: "Sequence[Waiver]" = ()
    """For cells of the baseline that need not be judged."""


def open_gate(options: Namespace, study: Study, *, stored: bool) -> Gate:
    """Find the run to compare with, and print it, before anything is measured.

    `stored`: take seed and limit from the run's folder rather than from the options.
    """
    for option in ("fail_on_regression", "waive"):
        if getattr(options, option) and not options.compare:
            name = option.replace("_", "-")
            options.usage_error(f"--{name} needs a run to compare with; add --compare REF")
    if not options.compare:
        return Gate(baseline=None, binding=False)
    from melange.harness.runs.baseline import Wanted, check_alike, find_baseline
    from melange.reports.analysis.comparison.waivers import read_waiver
    from melange.reports.analysis.run import of_stored

    waivers = [read_waiver(one) for one in options.waive]
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
        baseline=of_stored(baseline) if baseline else None,
        binding=options.fail_on_regression,
        waivers=waivers,
    )


def render(folder: RunFolder, gate: Gate, say: Callable[[str], None] = print) -> int:
    """Render the report, and print the result of the comparison."""
    from melange.harness.runs.retention import note_comparison
    from melange.reports.analysis.run import load_run
    from melange.reports.render import render_report
    from melange.reports.view import RunView

    if folder.manifest() is None:
        raise HarnessError(f"{folder.path} holds no run; run the suite first, or pass --out")
    rendered = RunView(load_run(folder.path), gate.baseline, tuple(gate.waivers))
    say(f"report: {render_report(rendered)}")
    if gate.baseline is None or rendered.comparison is None:
        return ALL_DONE
    comparison = rendered.comparison
    note_comparison(folder.path, gate.baseline.folder, comparison.num_waived)
    say(comparison.sentence)
    code = verdict(comparison, gate)
    if code == CELLS_MISSING:
        say(REMEDY)
    return code


def verdict(comparison: "Comparison", gate: Gate) -> int:
    """The exit code. A cell that the baseline has passes if it was judged, or if somebody has said
    that it need not be; where nothing was judged, that is no help."""
    if not gate.binding:
        return ALL_DONE
    if comparison.regressions:
        return REGRESSION
    return CELLS_MISSING if comparison.lacks_evidence else ALL_DONE
