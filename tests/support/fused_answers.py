"""Answers of engines with fused models, and transformers' logits of their members."""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from melange.harness.engines.engine import shut_down

MEBIBYTE = 2**20
OPTIONS: dict[str, Any] = {
    "dtype": "float32",
    "max_model_len": 192,
    "enforce_eager": True,
    "distributed_executor_backend": "uni",
    "kv_cache_memory_bytes": 64 * MEBIBYTE,
    "logprobs_mode": "processed_logprobs",
    "enable_prefix_caching": True,
    "block_size": 32,
    "disable_log_stats": False,
}


class Answer(NamedTuple):
    prompt: list[int]
    token_ids: list[int]
    logprobs: list[float]
    """Of the tokens after the prompt's first; prompt tokens are included if requested."""


@contextmanager
def engine(folder: Path, **options: Any) -> Iterator[Any]:
    import melange.harness.engines.session  # noqa: F401 (sets the environment that vllm reads)
    from melange.harness.engines.fused.plugin import register

    register()
    from vllm import LLM

    # Frees an earlier engine's objects, and exempts imported ones from later collections.
    gc.collect()
    gc.freeze()
    llm = LLM(str(folder), **(OPTIONS | options))
    try:
        yield llm
    finally:
        shut_down(llm)


def ask(
    llm: Any,
    prompts: Sequence[list[int]],
    tokens: int,
    *,
    score: bool = False,
    mix: Mapping[str, Any] | None = None,
) -> list[Answer]:
    inputs = [{"prompt_token_ids": prompt} for prompt in prompts]
    params = greedy(tokens, score, mix)
    return [answer_of(output) for output in llm.generate(inputs, params, use_tqdm=False)]


def greedy(tokens: int, score: bool, mix: Mapping[str, Any] | None = None) -> Any:
    from vllm import SamplingParams

    return SamplingParams(
        temperature=0.0,
        max_tokens=tokens,
        ignore_eos=True,
        detokenize=False,
        logprobs=0,
        prompt_logprobs=0 if score else None,
        extra_args={"mix": dict(mix)} if mix else None,
    )


def answer_of(output: Any) -> Answer:
    prompt, first = list(output.prompt_token_ids), output.outputs[0]
    tokens = [*(prompt if output.prompt_logprobs else []), *first.token_ids]
    rows = [*(output.prompt_logprobs or []), *first.logprobs]
    logprobs = [row[token].logprob for row, token in zip(rows, tokens, strict=True) if row]
    return Answer(prompt, list(first.token_ids), logprobs)


@cache
def model_of(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@torch.inference_mode()
def member_logits(folder: Path, rows: Sequence[list[int]]) -> Tensor:
    """Transformers' logits after each token, shape [rows, tokens, V], float64."""
    longest = max(map(len, rows))
    # Causal attention: padding on the right changes nothing before it.
    padded = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    return model_of(folder)(padded).logits.double()


Formula = Callable[[list[Tensor]], Tensor]


def proxy_tuned(alpha: float) -> Formula:
    return lambda each: each[0] + alpha * (each[1] - each[2])


def assert_answers(answers: Sequence[Answer], members: Sequence[Path], formula: Formula) -> None:
    """The answers equal those of a loop that runs every member and appends one token at a time.

    If every token is the most likely one after those before it, the loop yields the same tokens.
    """
    rows = [[*answer.prompt, *answer.token_ids] for answer in answers]
    each = [member_logits(folder, rows) for folder in members]
    common = min(logits.shape[-1] for logits in each)
    combined = formula([logits[..., :common] for logits in each])
    same = 0
    for answer, row, logits_TV in zip(answers, rows, combined, strict=True):
        new = slice(len(answer.prompt) - 1, len(row) - 1)
        same += logits_TV[new].argmax(-1).tolist() == answer.token_ids
        expected = logits_TV[: len(row) - 1].log_softmax(-1).gather(-1, torch.tensor([row[1:]]).T)
        last = expected[-len(answer.logprobs) :, 0]
        assert_close(torch.tensor(answer.logprobs).double(), last, atol=1e-3, rtol=0)
    assert same >= 0.99 * len(answers)


def assert_same(
    answers: Sequence[Answer], expected: Sequence[Answer], *, atol: float = 1e-4
) -> None:
    assert [answer.token_ids for answer in answers] == [answer.token_ids for answer in expected]
    for answer, other in zip(answers, expected, strict=True):
        assert answer.logprobs == pytest.approx(other.logprobs, abs=atol)


def counted(llm: Any, name: str) -> float:
    return sum(metric.value for metric in llm.get_metrics() if metric.name == f"vllm:{name}")
