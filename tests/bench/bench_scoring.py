"""Log-likelihoods our way, and as lm-eval asks vLLM for them. 100 questions, five shots each."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from engines import Entries, open_plain, open_session, pocket_entries
from ratios import Ratio, interleave, timed, times_faster

from harness.requests import Completion, Generation, Request, Score

QUESTIONS, SHOTS, CHOICES = 100, 5, 4
ROUNDS = 7


class Recorder:
    """Stands in for an engine and keeps what the examination asks for."""

    max_model_len = 512

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def score(self, requests: Sequence[Request]) -> list[Score]:
        self.requests += requests
        return [Score(0.0, False)] * len(requests)

    def generate(self, generations: Sequence[Generation]) -> list[Completion]:
        raise AssertionError("these tasks generate nothing")


def requests_of(entries: Entries, tokenizer: Path) -> list[Request]:
    """The requests that lm-eval builds, in its order."""
    from harness.lm_eval_bridge import Examination

    recorder = Recorder()
    list(Examination(entries, tokenizer, limit=QUESTIONS, seed=0).evaluate(recorder, list(entries)))
    assert len(recorder.requests) == CHOICES * QUESTIONS
    return recorder.requests


def long_choices(rows: Path, out: Path) -> Entries:
    """Sums with their working: the right one among those of other questions, about 15 tokens."""
    files = {}
    for split, stem in (("test", "pocket_arithmetic"), ("train", "pocket_arithmetic.fewshot")):
        stories = [json.loads(line) for line in (rows / f"{stem}.jsonl").read_text().splitlines()]
        files[split] = str(out / f"{split}.jsonl")
        draw = random.Random(0)
        Path(files[split]).write_text("".join(_with_choices(one, stories, draw) for one in stories))
    entries = pocket_entries(rows, "pocket_mc_trade", num_fewshot=SHOTS)
    task, (source,) = entries["pocket_mc_trade"]
    return {task.name: (task, [source | {"dataset_kwargs": {"data_files": files}}])}


def _with_choices(story: Any, stories: Sequence[Any], draw: random.Random) -> str:
    others = sorted({one["answer"] for one in stories} - {story["answer"]})
    choices = [story["answer"], *draw.sample(others, CHOICES - 1)]
    draw.shuffle(choices)
    row = {"prompt": story["prompt"], "choices": choices, "label": choices.index(story["answer"])}
    return json.dumps(row) + "\n"


def score_as_lm_eval(llm: Any, requests: Sequence[Request]) -> list[Score]:
    """lm_eval/models/vllm_causallms.py, 0.4.13: a request for each choice, longest first."""
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


def compare(name: str, folder: Path, requests: Sequence[Request], bar: float) -> Ratio:
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
    return times_faster(name, interleave(sides, rounds=ROUNDS), bar=bar, note=note)


def test_scoring_of_one_token_choices(
    keep: Callable[[Ratio], None], pocket: Mapping[str, Path], pocket_rows: Path
) -> None:
    entries = pocket_entries(pocket_rows, "pocket_mc_trade", num_fewshot=SHOTS)
    requests = requests_of(entries, pocket["large_base"])
    assert {len(request.continuation) for request in requests} == {1}
    keep(compare("scoring_vs_prompt_logprobs", pocket["large_base"], requests, 8))


def test_scoring_of_long_choices(
    keep: Callable[[Ratio], None], pocket: Mapping[str, Path], pocket_rows: Path, tmp_path: Path
) -> None:
    requests = requests_of(long_choices(pocket_rows, tmp_path), pocket["large_base"])
    keep(compare("scoring_vs_prompt_logprobs_long", pocket["large_base"], requests, 2))
