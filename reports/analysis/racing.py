"""What a race decided, in words."""

from melange.harness.racing.stop import Stop
from melange.reports.analysis.run import Run


def stop_sentence(stop: Stop) -> str:
    """As `stopped by the race after 240 examples: behind large_mix (e-value 10^4.1, 10^2.9 were
    needed)`."""
    return (
        f"stopped by the race after {stop.examples} examples: behind {', '.join(stop.behind)} "
        f"(e-value 10^{stop.log10_e_value:.1f}, 10^{stop.log10_needed:.1f} were needed)"
    )


def stopped_among(run: Run, *names: str) -> str:
    """Why candidates that were asked other examples are not compared; empty if none was stopped."""
    for name in names:
        if name in run.stopped:
            return f"{name}: {stop_sentence(run.stopped[name])}"
    return ""


def race_sentence(run: Run) -> str:
    """How a race went; empty if there was none."""
    if not run.stopped:
        return ""
    stops = run.stopped.values()
    top = max(stop.top for stop in stops)
    lasted = len(run.families) - len(run.stopped) + sum(stop.share for stop in stops)
    others = "another is" if top == 1 else f"{top} others are"
    return (
        f"A race stopped {len(run.stopped)} of {len(run.families)} candidates, of which it was "
        f"shown that {others} better; {lasted / len(run.families):.0%} of all examples were asked. "
        "It errs about any candidate in at most 5 % of runs. The ranks of those left are tested "
        "with all examples, and corrected for the pairs of the stopped ones, too."
    )
