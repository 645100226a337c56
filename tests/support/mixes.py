"""Mixes in the form of requests, and transformers' logits for them."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fused_answers import OPTIONS, Answer, answer_of, counted, engine, greedy, member_logits
from fused_models import TOKENIZER
from runner_v2 import allow_async_scheduling
from torch import Tensor

import melange.harness.engines.environment  # noqa: F401 (before vllm)

NAME = "melange.harness.engines.mix_processor:LogitMixing"
CONTEXT = 192
NEW_TOKENS = 12
Mix = Mapping[str, Any]
"""`extra_args["mix"]`."""


def draw_mix(rng: random.Random, members: Sequence[Path], kind: int) -> Mix | None:
    folders = [str(folder) for folder in members[1:]]
    own: list[list[int] | None] = [None, None]
    alpha = rng.uniform(-1, 2)
    if kind == 1:
        own[rng.randrange(2)] = rng.choices(range(2, len(TOKENIZER)), k=rng.randint(1, 30))
    elif kind == 2:
        return {
            "combine": "probabilities",
            "coefficients": [0.5, 0.2, 0.3],
            "folders": folders,
            "prompts": own,
        }
    elif kind == 3:
        return None
    return {
        "combine": "logits",
        "coefficients": [1.0, alpha, -alpha],
        "folders": folders,
        "prompts": own,
    }


def logits_of(base: Path, mix: Mix | None, prompt: list[int], output: list[int]) -> Tensor:
    """Logits before each output token and after the last, shape [T, V]."""
    if mix is None:
        return after(base, prompt, output)
    folders = [base, *map(Path, mix["folders"])]
    seen = [prompt, *(own or prompt for own in mix["prompts"])]
    each = [after(folder, one, output) for folder, one in zip(folders, seen, strict=True)]
    each = [logits_TV[:, : len(TOKENIZER)] for logits_TV in each]
    if mix["combine"] == "probabilities":
        each = [logits_TV.softmax(-1) for logits_TV in each]
    total = sum(c * one for c, one in zip(mix["coefficients"], each, strict=True))
    return total.log() if mix["combine"] == "probabilities" else total


def after(folder: Path, prompt: list[int], output: list[int]) -> Tensor:
    return member_logits(folder, [[*prompt, *output]])[0, len(prompt) - 1 :]


def params_of(mix: Mix | None, **more: Any) -> Any:
    from vllm import SamplingParams

    return SamplingParams(extra_args={"mix": dict(mix)} if mix else None, **more)


class Served(NamedTuple):
    answers: list[Answer]
    is_v2: bool
    is_async: bool
    num_preemptions: float


def serve(
    base: Path, prompts: list[list[int]], mixes: list[Mix | None], options: Mapping[str, Any]
) -> Served:
    """Serves requests, of which one joins at every step."""
    from melange.harness.engines.mix_processor import LogitMixing

    allow_async_scheduling()
    finished: dict[str, Any] = {}
    with engine(base, **(OPTIONS | {"logits_processors": [LogitMixing]} | options)) as llm:
        waiting = list(enumerate(zip(prompts, mixes, strict=True)))
        while waiting or llm.llm_engine.has_unfinished_requests():
            if waiting:
                number, (prompt, mix) = waiting.pop(0)
                params, inputs = greedy(NEW_TOKENS, False, mix), {"prompt_token_ids": prompt}
                llm.llm_engine.add_request(str(number), inputs, params)
            finished |= {o.request_id: o for o in llm.llm_engine.step() if o.finished}
        config = llm.llm_engine.vllm_config
        return Served(
            answers=[answer_of(finished[str(number)]) for number in range(len(prompts))],
            is_v2=config.use_v2_model_runner,
            is_async=config.scheduler_config.async_scheduling,
            num_preemptions=counted(llm, "num_preemptions"),
        )
