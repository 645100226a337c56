"""Results of the run's self-check, in sentences: for the run, and for each candidate."""

from melange.harness.verdicts import Tally, Verdict, tally
from melange.reports.analysis.run import Run
from melange.reports.units import grouped, plural

OLDER = "the run is of a version that did not check"
LEFT_OUT = "the run was told to leave it out"
TO_COME = "still to come: the run is going on"
NOTHING = "the run stopped before it came to it"


def candidate_sentence(run: Run, candidate: str) -> str:
    """`checked: 16 of 16, worst 2e-05`, or why it was not."""
    lines = run.checks_of.get(candidate)
    return tally(lines).sentence if lines else f"not checked: {why_not(run)}"


def why_not(run: Run) -> str:
    """Why a candidate has no result of the check."""
    if not run.manifest.checks:
        return OLDER
    if not run.manifest.checks.get("examples"):
        return LEFT_OUT
    return TO_COME if run.going_on else NOTHING


def run_sentence(run: Run) -> str:
    """How many examples were checked, and how many agree."""
    found = tally(run.checks)
    if not found.checked:
        reason = "; ".join(found.unchecked) or why_not(run)
        return f"Nothing was checked against plain transformers: {reason}."
    return f"{_extent(run, found)} {_outcome(found)}{_others(run)}"


def _extent(run: Run, found: Tally) -> str:
    cells = len({(m.candidate, m.task) for m in run.measurements if m.task and _was_scored(m)})
    return (
        f"Plain transformers answered {plural(found.checked, 'example')} once more, in "
        f"{grouped(found.cells)} of {plural(cells, 'cell')}:"
    )


def _was_scored(line: object) -> bool:
    return str(getattr(line, "outcome", "")) in ("completed", "disputed")


def _outcome(found: Tally) -> str:
    worst = "" if found.worst is None else f", at worst {found.worst:.0e} nats apart"
    if not found.disputed:
        return f"all agree{worst}."
    agreed = grouped(found.checked - found.disputed)
    return f"{agreed} agree{worst}, {grouped(found.disputed)} do not."


def _others(run: Run) -> str:
    """Candidates of which nothing was checked."""
    checked = {one.candidate for one in run.checks if one.verdict is not Verdict.UNCHECKED}
    others = [name for name in run.families if name not in checked]
    if not others:
        return ""
    names = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    return f" Unchecked: {names}."
