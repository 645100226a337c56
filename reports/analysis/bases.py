"""Which plain checkpoint a candidate started from."""

from melange.reports.analysis.run import Run


def bases(run: Run) -> dict[str, str | None]:
    """Candidate -> the plain base checkpoint it started from, where the run measured that one.

    The recipe names it.
    """
    plain = plain_checkpoints(run)
    found: dict[str, str | None] = {}
    for name in run.families:
        said = run.described.get(name)
        role = said and said.base
        base = plain.get(role) if role else None
        found[name] = base if base != name else None
    return found


def plain_checkpoints(run: Run) -> dict[str, str]:
    """Role -> the candidate that is this checkpoint and nothing more."""
    return {said.plain_role: name for name, said in run.described.items() if said.plain_role}
