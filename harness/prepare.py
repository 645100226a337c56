"""Candidates -> checkpoint folders, and which of them share an engine."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from baselines.artifacts import artifact, build_seconds
from baselines.checkpoints import CheckpointInfo, inspect
from harness.errors import HarnessError
from harness.jobs import Load
from harness.records import Candidate, EngineShape, LogitMix

TINY_PARAMETERS = 20_000_000
MAX_SLOTS = 4
NOT_RELOADABLE = {"MixtralForCausalLM"}
"""docs/decisions/mixtures-get-their-own-engine.md"""


class Prepared(NamedTuple):
    """A candidate whose checkpoint folders are there."""

    candidate: Candidate
    load: Load
    shape: EngineShape
    infos: Sequence[CheckpointInfo]
    """Of every model that serves at once, the base first."""
    build_sec: float | None


def prepare(
    candidate: Candidate, paths: Mapping[str, Path], prints: Mapping[str, str], *, device: str
) -> Prepared:
    """Build what the candidate needs and look at what will be served.

    Raises:
        HarnessError: a checkpoint is missing, damaged, or does not fit the others.
    """
    recipe = candidate.recipe
    if isinstance(recipe, LogitMix):
        folders = [_folder(role, paths) for role in recipe.inputs]
        roles = dict(zip(recipe.inputs, folders, strict=True))
        load, built = Load(folders[0], recipe, roles), None
    else:
        checkpoint = artifact(candidate, paths, prints)
        folders, load, built = [checkpoint], Load(checkpoint), build_seconds(checkpoint)
    infos = [inspect(path) for path in folders]
    return Prepared(candidate, load, shape_of(infos[0], device), infos, built)


def shape_of(info: CheckpointInfo, device: str) -> EngineShape:
    # vLLM's CPU kernels repack expert weights when an engine starts, and not when weights are
    # reloaded: the scores would be wrong. A mixture gets an engine of its own.
    alone = f"-{info.path}" if info.architecture in NOT_RELOADABLE else ""
    return EngineShape(
        signature=f"{info.signature}-{info.tokenizer}{alone}",
        max_model_len=info.context_length,
        dtype=info.dtype,
        device="cuda" if device == "cuda" else "cpu",
    )


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


def num_slots(prepared: Sequence[Prepared], device: str) -> int:
    """Engines that work side by side.

    A tiny model has too little work for several threads, so each core gets an engine of its own
    and two candidates are evaluated at once. Larger models use all cores together.
    """
    largest = max((info.num_parameters for one in prepared for info in one.infos), default=0)
    if device != "cpu" or largest > TINY_PARAMETERS:
        return 1
    return min(MAX_SLOTS, len(os.sched_getaffinity(0)))


def _folder(role: str, paths: Mapping[str, Path]) -> Path:
    folder = Path(role) if Path(role).is_absolute() else paths.get(role)
    if folder is None:
        raise HarnessError(f"the zoo has no folder for {role}")
    return folder
