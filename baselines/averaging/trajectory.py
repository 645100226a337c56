"""Checkpoints along one training run: roles `<run>@<step>`."""

import fnmatch
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field

from melange.baselines.options import Values, candidate_name
from melange.harness.checkpoints.fit import check_alike
from melange.harness.checkpoints.info import inspect
from melange.harness.recipes.weights import Weights
from melange.harness.records import Candidate, Record
from melange.harness.roles import Lacks, Roles

if TYPE_CHECKING:
    from torch import Tensor

    State = Mapping[str, Tensor]

Step = Annotated[int, Field(gt=0)]


class TrajectoryOptions(Record):
    run: str = ""
    """A run, or a glob; every run with enough checkpoints, if empty."""
    at: Values[Step] = ()
    """Average up to these steps rather than up to the end."""
    add_end: bool = False
    """Add the role `<run>` itself, one interval past the last step.

    Off, because the last numbered checkpoint usually is the run's end: it would count twice.
    """
    name: str | None = None


class Checkpoint(NamedTuple):
    role: str
    step: int


class Variant(NamedTuple):
    """A way to average a run, at any step."""

    tag: str
    """Part of the candidate's name."""
    summary: str
    choose: Callable[[list[Checkpoint]], list[Checkpoint]]
    at_least: int = 2
    """The least number of checkpoints."""
    options: Mapping[str, Any] = MappingProxyType({})


class TrajectoryAverage(ABC):
    name: str
    family = "averaging"
    source: str

    @abstractmethod
    def variants(self, options: Any) -> Iterator[Variant]: ...

    @abstractmethod
    def average(self, states: "Iterable[State]", options: Mapping[str, Any]) -> "State": ...

    def candidates(self, options: Any, roles: Roles) -> Iterator[Candidate]:
        variants = list(self.variants(options))
        ends: tuple[int | None, ...] = options.at or (None,)
        wanted = [(at, variant) for at in ends for variant in variants]
        runs = chosen_runs(options, roles, min(one.at_least for one in variants))
        for run in runs:
            for at, variant in wanted:
                end = run if at is None else f"{run}@{at}"
                chosen = variant.choose(trajectory(run, options, roles, at))
                inputs = needed_roles(run, chosen, at=at, at_least=variant.at_least)
                recipe = Weights(method=self.name, inputs=inputs, options=dict(variant.options))
                single = len(runs) * len(wanted) == 1
                yield Candidate(
                    name=candidate_name(options.name, single, self.name, end, variant.tag),
                    family=self.family,
                    recipe=recipe,
                    summary=f"{variant.summary} of {end}",
                    source=self.source,
                )

    def like(self, recipe: Weights) -> str:
        return recipe.inputs[-1]

    def check(self, recipe: Weights, inputs: Mapping[str, Path]) -> None:
        """
        Raises:
            HarnessError: the inputs differ in shape or vocabulary.
        """
        check_alike([inspect(inputs[role]) for role in reversed(recipe.inputs) if role in inputs])

    def tensors(
        self, recipe: Weights, inputs: Mapping[str, Path]
    ) -> "Iterator[tuple[str, Tensor]]":
        """The average of the inputs, in their dtype, one weight file at a time.

        Raises:
            HarnessError: the inputs differ in shape or vocabulary.
        """
        from melange.harness.checkpoints.arithmetic import in_dtype
        from melange.harness.checkpoints.tensors import read_tensors, tensor_names

        self.check(recipe, inputs)
        folders = [inputs[role] for role in recipe.inputs]
        last = inspect(folders[-1])
        for stored in tensor_names(last.path).values():
            names = [name for name in stored if name in last.shapes]
            states = (read_tensors(folder, names) for folder in folders)
            yield from in_dtype(self.average(states, recipe.options), last.dtype).items()


def chosen_runs(options: TrajectoryOptions, roles: Roles, at_least: int) -> list[str]:
    """
    Raises:
        Lacks: no run has as many checkpoints.
    """
    found = fnmatch.filter(roles.runs(at_least), options.run or "*")
    if found or (options.run and not any(mark in options.run for mark in "*?[")):
        return found or [options.run]
    raise Lacks(f"no run with {at_least} checkpoints")


def trajectory(
    run: str, options: TrajectoryOptions, roles: Roles, at: int | None
) -> list[Checkpoint]:
    """The run's checkpoints in order of training, up to step `at`; empty if the zoo has none."""
    found = [Checkpoint(role=one.name, step=one.step) for one in roles.steps(run)]
    if at is not None:
        return [checkpoint for checkpoint in found if checkpoint.step <= at]
    if options.add_end and found:
        steps = [one.step for one in found]
        interval = steps[-1] - steps[-2] if len(steps) > 1 else steps[-1]
        found.append(Checkpoint(role=run, step=steps[-1] + interval))
    return found


def needed_roles(
    run: str, chosen: Sequence[Checkpoint], *, at: int | None, at_least: int
) -> tuple[str, ...]:
    """The chosen roles, `run@at` among them.

    If there are too few, a role that no zoo has is put in front: so the plan refuses the candidate
    instead of measuring another average under its name.
    """
    roles = [checkpoint.role for checkpoint in chosen]
    if at is not None and at not in [checkpoint.step for checkpoint in chosen]:
        roles.append(f"{run}@{at}")
    if len(roles) < at_least:
        roles.insert(0, f"{run}@*")
    return tuple(roles)
