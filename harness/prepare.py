"""Candidates -> loads, and which of them share an engine."""

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from melange.harness.checkpoints.info import CheckpointInfo
from melange.harness.checkpoints.source import Checkpoints
from melange.harness.engine_shapes import as_computed
from melange.harness.engines.fused.folder import is_fused
from melange.harness.loads import Load, Seat, Served
from melange.harness.records import Candidate, EngineOptions, EngineShape

TINY_PARAMETERS = 20_000_000
MAX_SLOTS = 4

ShapeOf = Callable[[Sequence[CheckpointInfo], Load, EngineOptions], EngineShape]
"""Decides the engine from the models that it serves, how they are loaded, and the options."""


class Part(NamedTuple):
    """What one engine serves of a candidate: all of it, unless it is a composite."""

    load: Load
    shape: EngineShape
    infos: Sequence[CheckpointInfo]
    """Of the models that this engine serves at once, the base first."""

    @property
    def kernels(self) -> Hashable:
        """As of `Prepared`, for this part alone."""
        return _kernels(self.infos, str(self.load.checkpoint), self.load, self.shape)


class Prepared(NamedTuple):
    """A candidate whose inputs are ready, and its engine."""

    candidate: Candidate
    load: Load
    shape: EngineShape
    infos: Sequence[CheckpointInfo]
    """Of every model that takes part, the base first."""
    seats: Sequence[Part] = ()
    """A composite's parts, in the order in which they are asked."""
    training_sec: float | str = "not known: nobody asked the zoo what training its inputs took"
    """Of its inputs beyond its base; or why that is not known."""

    @property
    def parts(self) -> Sequence[Part]:
        """A composite's parts, or the whole candidate as one."""
        return self.seats or [Part(self.load, self.shape, self.infos)]

    @property
    def kernels(self) -> Hashable:
        """Equal for candidates whose engines run the same kernels on the same shapes: their speed
        and memory do not depend on the values of their weights, so they are measured as one.

        A mixture's do: its weights decide which experts are read.
        """
        return _kernels(self.infos, self.candidate.name, self.load, self.shape)


def _kernels(
    infos: Sequence[CheckpointInfo], name: str, load: Load, shape: EngineShape
) -> Hashable:
    models = tuple(info.signature for info in infos)
    routed = any(info.num_active_parameters < info.num_parameters for info in infos)
    return models, name if routed else "", _computation(load, shape)


def _computation(load: Load, shape: EngineShape) -> Hashable:
    mix = load.mix and (load.mix.combine, tuple(one.own_prompt for one in load.mix.members))
    panel = load.panel and load.panel.model_dump_json(exclude={"parts"})
    seats = tuple(_computation(one.load, one.shape) for one in load.seats)
    return shape, mix, panel, seats


def prepare(
    candidate: Candidate, checkpoints: Checkpoints, options: EngineOptions, shape_of: ShapeOf
) -> Prepared:
    """Build what the worker cannot build itself, inspect the checkpoints, choose the engine.

    Raises:
        HarnessError: a checkpoint is missing, damaged, or does not fit the others.
    """
    served = candidate.recipe.prepare(candidate.name, checkpoints)
    parts = [_part(one, options, shape_of) for one in served.parts or [served]]
    # A model that serves as several parts counts once.
    apart = {one.load.checkpoint: one for one in parts}.values()
    infos = [info for one in apart for info in one.infos]
    one = Prepared(candidate, served.load, parts[0].shape, infos)
    if not served.parts:
        return one
    seats = [Seat(part.load, part.shape) for part in parts]
    return one._replace(load=served.load._replace(seats=seats), seats=parts)


def _part(served: Served, options: EngineOptions, shape_of: ShapeOf) -> Part:
    infos = [as_computed(folder, options) for folder in served.folders]
    alone = infos if is_fused(served.load.start) else infos[:1]
    return Part(served.load, shape_of(alone, served.load, options), infos)


def group_by_shape(
    prepared: Sequence[Prepared], reference: Prepared | None
) -> dict[EngineShape, list[Prepared]]:
    """Candidates by the engine that they share. The reference's comes first, and stays alive."""
    groups: dict[EngineShape, list[Prepared]] = {}
    if reference is not None:
        groups[reference.shape] = []
    for one in prepared:
        groups.setdefault(one.shape, []).append(one)
    return groups


def in_order(prepared: Sequence[Prepared]) -> list[Prepared]:
    """Shape by shape, the most expensive first.

    In this order slots finish at about the same time: an expensive shape at the end would run
    alone. Within a shape, families of few shapes and few candidates come first, so that some
    families are complete early.
    """
    groups = group_by_shape(prepared, None).values()
    ordered = sorted(groups, key=lambda group: -sum(map(_active_parameters, group)))
    size = _family_sizes(prepared)
    return [
        one
        for group in ordered
        for one in sorted(group, key=lambda one: size[one.candidate.family])
    ]


def _family_sizes(prepared: Sequence[Prepared]) -> dict[str, tuple[int, int]]:
    """Shapes and candidates of each family."""
    found: dict[str, list[EngineShape]] = {}
    for one in prepared:
        found.setdefault(one.candidate.family, []).append(one.shape)
    return {family: (len(set(shapes)), len(shapes)) for family, shapes in found.items()}


def _active_parameters(one: Prepared) -> int:
    return sum(info.num_active_parameters for info in one.infos)


def num_slots(prepared: Sequence[Prepared], device: str) -> int:
    """Number of engines that run side by side.

    A tiny model has too little work for several threads, so each core gets an engine of its own, up
    to `MAX_SLOTS`. Larger models use all cores together.
    """
    largest = max((info.num_parameters for one in prepared for info in one.infos), default=0)
    if device != "cpu" or largest > TINY_PARAMETERS:
        return 1
    return min(MAX_SLOTS, len(os.sched_getaffinity(0)))


def by_family(members: Sequence[Prepared]) -> dict[str, set[str]]:
    """Names of the candidates."""
    found: dict[str, set[str]] = defaultdict(set)
    for one in members:
        found[one.candidate.family].add(one.candidate.name)
    return found


def weights_bytes(member: Prepared) -> int:
    return sum(info.weights_bytes for info in member.infos)
