"""Candidates -> checkpoint folders, and which of them share an engine."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from melange.baselines.adapters.lora import adapted
from melange.baselines.artifacts import artifact, build_seconds, input_folders, streamed_like
from melange.baselines.cache import cache_dir
from melange.baselines.checkpoints import CheckpointInfo
from melange.harness.engine_shapes import as_computed
from melange.harness.engines.fused.checks import can_fuse
from melange.harness.engines.fused.folder import is_fused, write_folder
from melange.harness.errors import HarnessError
from melange.harness.jobs import Load, Streamed
from melange.harness.records import Candidate, EngineOptions, EngineShape, LogitMix, Member

TINY_PARAMETERS = 20_000_000
MAX_SLOTS = 4

ShapeOf = Callable[[Sequence[CheckpointInfo], Load, EngineOptions], EngineShape]
"""The engine of models that serve together, loaded so, with these options."""


class Prepared(NamedTuple):
    """A candidate whose checkpoint folders are there."""

    candidate: Candidate
    load: Load
    shape: EngineShape
    infos: Sequence[CheckpointInfo]
    """Of every model that serves at once, the base first."""
    build_sec: float | None
    """Of a checkpoint that was built; what the engine builds in memory it times itself."""


def prepare(
    candidate: Candidate,
    paths: Mapping[str, Path],
    prints: Mapping[str, str],
    options: EngineOptions,
    shape_of: ShapeOf,
) -> Prepared:
    """Build what the candidate needs and look at what will be served, with these options.

    `shape_of` says in which engine, from the models that serve and how they are loaded.

    Raises:
        HarnessError: a checkpoint is missing, damaged, or does not fit the others.
    """
    recipe, built = candidate.recipe, None
    if isinstance(recipe, LogitMix):
        folders = mix_folders(recipe, paths, prints)
        load = _mix_load(recipe, folders)
    elif (role := streamed_like(recipe)) is not None:
        inputs = input_folders(candidate.name, recipe, paths)
        folders = [inputs[role]]
        load = Load(inputs[role], streamed=Streamed(candidate.name, recipe, inputs))
    else:
        checkpoint = artifact(candidate, paths, prints)
        folders, load, built = [checkpoint], Load(checkpoint), build_seconds(checkpoint)
    infos = [as_computed(path, options) for path in folders]
    served = infos if is_fused(load.checkpoint) else infos[:1]
    return Prepared(candidate, load, shape_of(served, load, options), infos, built)


def group_by_shape(
    prepared: Sequence[Prepared], reference: Prepared | None
) -> dict[EngineShape, list[Prepared]]:
    """Candidates that share an engine, the reference's engine first: it stays until the end."""
    groups: dict[EngineShape, list[Prepared]] = {}
    if reference is not None:
        groups[reference.shape] = []
    for one in prepared:
        groups.setdefault(one.shape, []).append(one)
    return groups


def in_order(prepared: Sequence[Prepared]) -> list[Prepared]:
    """Shape by shape, the one with the most to compute first.

    Slots that take them in this order end together; a long one at the end would keep one waiting.
    Within a shape the order is free: families of few shapes and few candidates come first, so that
    some are through early.
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
    """Engines that work side by side.

    A tiny model has too little work for several threads, so each core gets an engine of its own
    and two candidates are evaluated at once. Larger models use all cores together.
    """
    largest = max((info.num_parameters for one in prepared for info in one.infos), default=0)
    if device != "cpu" or largest > TINY_PARAMETERS:
        return 1
    return min(MAX_SLOTS, len(os.sched_getaffinity(0)))


def mix_folders(
    recipe: LogitMix, paths: Mapping[str, Path], prints: Mapping[str, str]
) -> list[Path]:
    """A checkpoint folder for each member, the base's first."""
    return [_member_folder(member, paths, prints) for member in recipe.members]


def _mix_load(recipe: LogitMix, folders: Sequence[Path]) -> Load:
    """One fused model where all members see the same tokens, else a logits processor."""
    if not (recipe.fusible and can_fuse(folders)):
        return Load(folders[0], recipe, folders)
    content = [recipe.combine, recipe.coefficients, [str(folder) for folder in folders]]
    key = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    out = cache_dir() / "fused" / key
    write_folder(out, folders, recipe.coefficients, recipe.combine)
    return Load(out, base=folders[0])


def _member_folder(member: Member, paths: Mapping[str, Path], prints: Mapping[str, str]) -> Path:
    """The member's checkpoint; with its adapter merged in, where it has one."""
    if not member.adapter:
        return _folder(member.role, paths)
    recipe = adapted(member.role, member.adapter)
    name = f"{Path(member.role).name}+{Path(member.adapter).name}"
    return artifact(Candidate(name=name, family="single", recipe=recipe), paths, prints)


def _folder(role: str, paths: Mapping[str, Path]) -> Path:
    folder = Path(role) if Path(role).is_absolute() else paths.get(role)
    if folder is None:
        raise HarnessError(f"the zoo has no folder for {role}")
    return folder
