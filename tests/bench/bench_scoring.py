"""Compares log-likelihoods with lm-eval's vLLM backend, on 100 questions with five shots each."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import public_rows
import pytest
from engines import Entries, open_plain, open_session, pocket_entries
from public_rows import SHOTS
from random_models import make_random
from ratios import Ratio, interleave, timed, times_faster

from melange.harness.requests import Completion, Generation, Request, Score

QUESTIONS, CHOICES = 100, 4
ROUNDS = 3


class Recorder:
    """Stands for an engine and keeps the examination's requests."""

    max_model_len = 1024

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def score(self, requests: Sequence[Request]) -> list[Score]:
        self.requests += requests
        return [Score(0.0, False)] * len(requests)

    def generate(self, generations: Sequence[Generation]) -> list[Completion]:
        raise AssertionError("these tasks generate nothing")


def requests_of(entries: Entries, tokenizer: Path) -> list[Request]:
    """The requests that lm-eval builds, in its order."""
    from melange.harness.evaluators.lm_eval import LmEvalEvaluator

    recorder = Recorder()
    evaluator = LmEvalEvaluator(entries, tokenizer, limit=QUESTIONS, seed=0)
    list(evaluator.evaluate(recorder, list(entries)))
    assert len(recorder.requests) == CHOICES * QUESTIONS
    return recorder.requests


def score_as_lm_eval(llm: Any, requests: Sequence[Request]) -> list[Score]:
    """lm_eval/models/vllm_causallms.py, 0.4.13: a request per choice, longest first."""
    from vllm import SamplingParams

    params = SamplingParams(temperature=0, prompt_logprobs=1, max_tokens=1, detokenize=False)
    order = sorted(range(len(requests)), key=lambda i: -sum(map(len, requests[i])))
    prompts = [
        {"prompt_token_ids": [*requests[i].context, *requests[i].continuation]} for i in order
    ]
    outputs = llm.generate(prompts, [params] * len(prompts), use_tqdm=False)
    scores = [Score(0.0, False)] * len(requests)
    for i, output in zip(order, outputs, strict=True):
        tokens = requests[i].continuation
        rows = output.prompt_logprobs[-len(tokens) :]
        found = [row[token] for row, token in zip(rows, tokens, strict=True)]
        scores[i] = Score(sum(one.logprob for one in found), all(one.rank == 1 for one in found))
    return scores


def compare(
    name: str, folder: Path, requests: Sequence[Request], bar: float | None = None
) -> Ratio:
    session, plain = open_session(folder), open_plain(folder)
    ours, theirs = session.score(requests), score_as_lm_eval(plain, requests)
    assert [one.logprob for one in ours] == pytest.approx([one.logprob for one in theirs], abs=1e-4)
    assert [one.greedy for one in ours] == [one.greedy for one in theirs]
    sides = {
        "Session.score": timed(lambda: session.score(requests), session.forget_prefixes),
        "prompt_logprobs, a request a choice": timed(
            lambda: score_as_lm_eval(plain, requests), plain.reset_prefix_cache
        ),
    }
    context, choice = (sum(map(len, part)) / len(requests) for part in zip(*requests, strict=True))
    note = f"{QUESTIONS} questions, contexts of {context:.0f} tokens, choices of {choice:.0f}"
    seconds = interleave(sides, rounds=ROUNDS, warm_up=False)  # both have just scored once
    return times_faster(name, seconds, bar=bar, note=note)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("several engines are alive at once here, which a GPU's memory does not allow")
    return make_random(tmp_path_factory.mktemp("model") / "5m", "5m")


def test_one_token_choices(keep: Callable[[Ratio], None], model: Path, tmp_path: Path) -> None:
    requests = requests_of(public_rows.mmlu(tmp_path, questions=QUESTIONS), model)
    assert {len(request.continuation) for request in requests} == {1}
    keep(compare("scoring_vs_prompt_logprobs", model, requests, 8))


def test_choices_of_several_tokens(
    keep: Callable[[Ratio], None], model: Path, tmp_path: Path
) -> None:
    requests = requests_of(public_rows.arc(tmp_path, questions=QUESTIONS), model)
    assert min(len(request.continuation) for request in requests) > 1
    keep(compare("scoring_vs_prompt_logprobs_long", model, requests, 2))


def test_short_contexts(
    keep: Callable[[Ratio], None], pocket: Mapping[str, Path], pocket_rows: Path
) -> None:
    """Contexts of 75 tokens and a model of 1.2 M parameters: little to save."""
    entries = pocket_entries(pocket_rows, "pocket_mc_trade", num_fewshot=SHOTS)
    requests = requests_of(entries, pocket["large_base"])
    keep(compare("scoring_vs_prompt_logprobs_pocket", pocket["large_base"], requests))
