"""Estimates of how long a plan takes, and of its memory and disk."""

import math
from collections.abc import Iterable
from pathlib import Path

from melange.harness.checkpoints.source import Checkpoints
from melange.harness.contracts import Zoo
from melange.harness.records import Candidate, Plan

SECONDS_PER_EXAMPLE = 0.0007
SECONDS_PER_VISIT = 0.1
SECONDS_PER_STEP = 0.003
SECONDS_PER_ENGINE = 60.0
"""Measured on two cores with models of a few million parameters; larger models take longer."""
MIX_FACTOR = 2
"""How much slower a candidate of three models is than its base; measured."""


def needed_roles(candidates: Iterable[Candidate]) -> list[str]:
    """Roles of the zoo that the candidates are made from, each once."""
    roles = dict.fromkeys(role for one in candidates for role in one.recipe.inputs)
    return [role for role in roles if not Path(role).is_absolute()]


def estimate_seconds(plan: Plan, zoo: Zoo) -> float:
    """Estimated seconds of the pending cells, including making checkpoints ready.

    Speeds take at most so long: rounds end earlier once they are known, and which candidates are
    timed as one is not known yet.
    """
    running = [one for one in plan.candidates if plan.pending(one.name)]
    seconds = zoo.wall_seconds(needed_roles(running))
    timing = 0.0
    for candidate in running:
        for cell in plan.pending(candidate.name):
            if cell.task is None:
                timing += plan.suite.rounds * visit_seconds(plan, candidate)
                seconds += open_loop_seconds(plan)
            else:
                seconds += task_seconds(plan, candidate)
    timing = min(timing, plan.suite.speed_budget_sec or math.inf)
    return seconds + timing + (SECONDS_PER_ENGINE if running else 0)


def task_seconds(plan: Plan, candidate: Candidate) -> float:
    """Estimated seconds of a candidate on a task."""
    return _mix_factor(candidate) * (plan.limit or 500) * SECONDS_PER_EXAMPLE


def visit_seconds(plan: Plan, candidate: Candidate) -> float:
    """Estimated seconds of one round of all batches."""
    steps = sum(one.output_tokens for one in plan.suite.batches)
    return _mix_factor(candidate) * (SECONDS_PER_VISIT + SECONDS_PER_STEP * steps)


def open_loop_seconds(plan: Plan) -> float:
    """Seconds in which requests arrive at a candidate, in all repetitions of all open loops."""
    return sum(
        one.repetitions * one.num_requests / one.request_rate
        for one in plan.suite.open_loops
        if one.request_rate
    )


def _mix_factor(candidate: Candidate) -> int:
    return MIX_FACTOR if candidate.recipe.num_models > 1 else 1


def estimate_bytes(plan: Plan, zoo: Zoo) -> int:
    """Bytes of weights in one engine, at most; without the engine's own memory."""
    running = [one for one in plan.candidates if plan.pending(one.name)]
    return max((_weights_bytes(one, zoo) for one in running), default=0)


def estimate_disk_bytes(plan: Plan, checkpoints: Checkpoints) -> int:
    """Bytes of the checkpoints that are built for the run, at most."""
    running = [one for one in plan.candidates if plan.pending(one.name)]
    built = [one for one in running if checkpoints.builds(one.recipe.method)]
    return sum(_weights_bytes(one, checkpoints.zoo) for one in built)


def _weights_bytes(candidate: Candidate, zoo: Zoo) -> int:
    """An upper bound."""
    known = [zoo.weights_bytes(role) or 0 for role in needed_roles([candidate])]
    return sum(known) if candidate.family == "moe" else served_bytes(candidate, zoo)


def served_bytes(candidate: Candidate, zoo: Zoo) -> int:
    """A lower bound: a mixture assembled from its inputs may be larger than any of them."""
    known = [zoo.weights_bytes(role) or 0 for role in needed_roles([candidate])]
    return candidate.recipe.served_bytes(known)
