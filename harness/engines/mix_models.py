"""A mix's members other than the base, whose logits are combined with the base's.

Shared by the logits processors for vLLM's two runners. Shape letters: R rows, V vocabulary,
M members, the base among them.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from vllm import SamplingParams
from vllm.config import CompilationMode, VllmConfig, set_current_vllm_config

from melange.harness.engines.logit_arithmetic import COMBINE
from melange.harness.engines.small_model import Row, SmallModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """A request's mix. `coefficients` start with the base's.

    Raises:
        ValueError: the fields do not fit each other.
    """

    combine: str
    coefficients: list[float]
    folders: list[str]
    """Of the members other than the base."""
    prompts: list[list[int] | None]
    """Token ids of each such member's prompt; None: the base's prompt."""

    def __post_init__(self) -> None:
        if self.combine not in COMBINE:
            raise ValueError(f"mix: combine={self.combine!r}; use one of {', '.join(COMBINE)}")
        if not len(self.coefficients) - 1 == len(self.folders) == len(self.prompts):
            raise ValueError(
                f"mix: {len(self.coefficients)} coefficients, {len(self.folders)} folders and "
                f"{len(self.prompts)} prompts; give a coefficient for the base, "
                "and one of each for every other member"
            )

    def members(self) -> list[tuple[str, int]]:
        """Folder and index of each member other than the base."""
        return [(folder, member) for member, folder in enumerate(self.folders)]


def read_mix(params: SamplingParams) -> Mix | None:
    """What the request asks for in `extra_args["mix"]`, the fields of `Mix`.

    Raises:
        ValueError: the fields are not those of a mix.
    """
    wanted: dict[str, Any] | None = (params.extra_args or {}).get("mix")
    if not wanted:
        return None
    try:
        return Mix(**wanted)
    except TypeError as error:
        raise ValueError(f"mix: {error}; its fields are {', '.join(Mix.__slots__)}") from None


def check_mix(params: SamplingParams) -> None:
    """Refuse a request that would break off the engine's step.

    Raises:
        ValueError: the fields are not those of a mix, or a member is not there.
    """
    mix = read_mix(params)
    for folder in mix.folders if mix else ():
        if not (Path(folder) / "config.json").is_file():
            raise ValueError(f"mix: {folder} is no checkpoint folder; correct the path")


@dataclass(slots=True, kw_only=True)
class MixedRequest:
    """A request that is mixed, and its tokens so far."""

    mix: Mix
    slot: int
    """Of its keys and values in the members' caches."""
    prompt_ids: Sequence[int]
    output_ids: list[int]

    @property
    def kind(self) -> tuple[str, ...]:
        """Requests of one kind are computed together."""
        return (self.mix.combine, *self.mix.folders)

    def tokens_of(self, member: int) -> Row:
        prompt_ids = self.mix.prompts[member] or self.prompt_ids
        return Row(self.slot, [*prompt_ids, *self.output_ids])


class MixModels:
    """Every member that the requests of a batch need, loaded when the first one needs it."""

    def __init__(self, vllm_config: VllmConfig, device: torch.device) -> None:
        self._vllm_config = vllm_config
        self._device = device
        self._models: dict[tuple[str, int], SmallModel] = {}

    def forget(self, slot: int) -> None:
        """The slot's request has left; the next one in it starts from its prompt."""
        for model in self._models.values():
            model.forget(slot)

    def combine(self, logits_RV: Tensor, requests: Mapping[int, MixedRequest]) -> None:
        """Replace the base's logits of these rows by those of each row's mix, in place."""
        by_kind: dict[tuple[str, ...], list[int]] = {}
        for row, request in sorted(requests.items()):
            by_kind.setdefault(request.kind, []).append(row)
        self._drop_unused(requests.values())
        for rows in by_kind.values():
            combined_RV = self._combined(logits_RV[rows], [requests[row] for row in rows])
            logits_RV[rows] = combined_RV.to(logits_RV.dtype)

    def _combined(self, base_RV: Tensor, requests: Sequence[MixedRequest]) -> Tensor:
        mix = requests[0].mix
        members_RV = [
            self._model(folder, member).next_logits([one.tokens_of(member) for one in requests])
            for folder, member in mix.members()
        ]
        coefficients_MR = base_RV.new_tensor([one.mix.coefficients for one in requests]).T
        combined_RV = COMBINE[mix.combine]([base_RV, *members_RV], list(coefficients_MR[..., None]))
        # What a grammar or a banned word has ruled out stays ruled out.
        return combined_RV.masked_fill(base_RV == float("-inf"), float("-inf"))

    def _model(self, folder: str, member: int) -> SmallModel:
        # By member: a checkpoint that enters twice with different prompts needs two caches.
        if (folder, member) not in self._models:
            with transformers_as_it_is(self._vllm_config):
                self._models[folder, member] = SmallModel(
                    Path(folder), dtype=self._vllm_config.model_config.dtype, device=self._device
                )
        return self._models[folder, member]

    def _drop_unused(self, requests: Iterable[MixedRequest]) -> None:
        """Drop members of earlier candidates, which would count as this candidate's memory."""
        used = {pair for one in requests for pair in one.mix.members()}
        if used and not used >= self._models.keys():
            self._models = {key: model for key, model in self._models.items() if key in used}


@contextmanager
def transformers_as_it_is(engine_config: VllmConfig) -> Iterator[None]:
    """Within it, transformers builds models that run as they do elsewhere.

    An engine whose model is transformers' own (vLLM's Transformers backend) decorates that class
    for this process: every model of it asks for vLLM's config, and is compiled as that says.
    """
    config = copy.copy(engine_config)
    config.compilation_config = copy.copy(engine_config.compilation_config)
    config.compilation_config.mode = CompilationMode.NONE
    with set_current_vllm_config(config):
        yield
