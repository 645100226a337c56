"""The goal of a proxy-tuned candidate: its base, tuned as its expert was."""

from collections.abc import Mapping
from dataclasses import dataclass

from melange.harness.records import Candidate
from melange.harness.stats import Interval, Means, gap_closed, retained
from melange.reports.analysis.bases import plain_checkpoints
from melange.reports.analysis.run import Reading, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """The base and the tuned candidate to compare a proxy-tuned one with, or why there are none."""

    base: str = ""
    tuned: str = ""
    reason: str = ""


def goal(run: Run, name: str) -> Goal:
    """For large_base + (small_mix - small_base): from `large_base` to `large_mix`."""
    candidate = run.recipes.get(name)
    if candidate is None:
        return Goal(reason="its recipe is not known")
    steered = candidate.recipe.describe()
    if not steered.experts or not steered.antiexperts:
        return Goal(reason="only a model that tuned experts steer has a gap to close")
    if len(steered.experts) > 1:
        return Goal(
            reason=f"{len(steered.experts)} experts steer it: no one checkpoint is its goal"
        )
    tuned = goal_role(candidate)
    plain = plain_checkpoints(run)
    missing = [
        role or "the base tuned alike" for role in (steered.base, tuned) if role not in plain
    ]
    if missing:
        return Goal(reason=f"{' and '.join(missing)} was not run, which its goal rests on")
    return Goal(base=plain[steered.base], tuned=plain[tuned])


def goal_role(candidate: Candidate) -> str:
    """The role that a proxy-tuned candidate approximates; empty if it has none."""
    said = candidate.recipe.describe()
    if candidate.goal is not None or not said.experts or not said.antiexperts:
        return candidate.goal or ""
    return _named_goal(said.base, said.experts[0], said.antiexperts[0])


def _named_goal(base: str, expert: str, antiexpert: str) -> str:
    """For runs of versions that related roles by name: `large_mix` for (`large_base`, `small_mix`
    or an adapter `lora_small_mix`, `small_base`); empty if they have other names.
    """
    small, _, untuned = antiexpert.partition("_")
    large, _, same = base.partition("_")
    _, found, tuning = expert.rpartition(f"{small}_")
    return f"{large}_{tuning}" if found and untuned == same == "base" else ""


def gap_reading(means: Means, places: Mapping[str, int], candidate: str, ends: Goal) -> Reading:
    """(candidate - base) / (tuned - base); `places` are the candidates' rows in `means`."""
    # Only these three: other means may be missing, and 0 times NaN is NaN.
    chosen = means.select([places[name] for name in (ends.base, ends.tuned, candidate)])
    found = gap_closed(chosen, base=0, tuned=1, candidate=2)
    return _reading(found, f"{ends.tuned} is not significantly better than {ends.base}")


def retained_reading(
    means: Means, places: Mapping[str, int], candidate: str, ends: Goal
) -> Reading:
    """candidate / tuned."""
    chosen = means.select([places[name] for name in (ends.tuned, candidate)])
    found = retained(chosen, whole=0, candidate=1)
    return _reading(found, f"{ends.tuned} is not significantly above 0")


def _reading(found: Interval | None, reason: str) -> Reading:
    if found is None:
        return Reading(reason=reason)
    return Reading(
        value=found.mean, low=found.low, high=found.high, n=found.n, outcome="completed", reason=""
    )
