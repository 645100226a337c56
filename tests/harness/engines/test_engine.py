"""Engine sessions give transformers' outputs, for plain checkpoints and for proxy-tuning."""

import random
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from melange.baselines.proxy.tuning import Pair, mix_members
from melange.harness.checkpoints.info import inspect
from melange.harness.errors import HarnessError
from melange.harness.recipes.logit_mix import LogitMix
from melange.harness.records import EngineShape
from melange.harness.requests import Generation, Request

pytestmark = pytest.mark.slow

NUM_PROMPTS = 200
NEW_TOKENS = 16
SERVED = ("small_mix", "large_base", "large_mix", "mixture_base")


def proxy(alpha: float) -> LogitMix:
    pair = Pair(expert="small_mix", antiexpert="small_base", alpha=alpha)
    return LogitMix(method="proxy", members=mix_members("large_base", [pair]))


MIX = proxy(1.0)


def open_session(folder: Path) -> Any:
    from melange.harness.engines.session import EngineSession

    info = inspect(folder)
    return EngineSession(
        folder, EngineShape(signature=folder.name, max_model_len=info.context_length)
    )


def num_group_threads() -> int:
    threads = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    return threads.count("gloo_tcp_loop\n")


@pytest.fixture(scope="module", params=SERVED)
def served(request: pytest.FixtureRequest, zoo_folders: Mapping[str, Path]) -> Iterator[Any]:
    """An engine, its checkpoint, and the number of process-group threads before it started."""
    before = num_group_threads()
    session = open_session(zoo_folders[request.param])
    yield session, [zoo_folders[request.param]], before
    session.close()


@pytest.fixture(scope="module")
def large(zoo_folders: Mapping[str, Path]) -> Iterator[Any]:
    session = open_session(zoo_folders["large_base"])
    yield session
    session.close()


@pytest.fixture(scope="module")
def prompts(pocket_rows: Path) -> list[str]:
    """Questions of every generation task, cut at random points."""
    import json

    rng = random.Random(0)
    rows = [
        json.loads(line)["prompt"]
        for task in ("knowledge", "arithmetic", "instructions")
        for line in (pocket_rows / f"pocket_{task}.jsonl").read_text().splitlines()
    ]
    return [row[: rng.randint(10, len(row))] for row in rng.sample(rows, NUM_PROMPTS)]


@cache
def model_of(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def encode(folder: Path, prompts: list[str]) -> list[tuple[int, ...]]:
    from transformers import AutoTokenizer

    return [tuple(ids) for ids in AutoTokenizer.from_pretrained(folder)(prompts)["input_ids"]]


@torch.inference_mode()
def logits_TV(folders: list[Path], ids: tuple[int, ...], alpha: float) -> torch.Tensor:
    """Logits after each token, of one model or of base + alpha * (expert - antiexpert)."""
    each = [model_of(folder)(torch.tensor([ids])).logits[0].double() for folder in folders]
    return each[0] + alpha * (each[1] - each[2]) if len(each) == 3 else each[0]


def assert_same_greedy_tokens(
    session: Any, folders: list[Path], ids: list[tuple[int, ...]], alpha: float
) -> None:
    """The output equals a greedy loop's if each token is the most likely one after the others."""
    said = [
        completion.token_ids
        for completion in session.generate(
            [Generation(prompt, NEW_TOKENS, ignore_eos=True) for prompt in ids]
        )
    ]
    assert {len(tokens) for tokens in said} == {NEW_TOKENS}
    same = [
        logits_TV(folders, prompt + tokens, alpha)[len(prompt) - 1 : -1].argmax(-1).tolist()
        == list(tokens)
        for prompt, tokens in zip(ids, said, strict=True)
    ]
    assert sum(same) >= 0.99 * len(ids)


def assert_same_logprobs(
    session: Any, folders: list[Path], requests: list[Request], alpha: float
) -> None:
    for request, score in zip(requests, session.score(requests), strict=True):
        rows = logits_TV(folders, request.context + request.continuation, alpha)
        rows = rows.log_softmax(-1)[len(request.context) - 1 : -1]
        expected = [
            float(row[token]) for row, token in zip(rows, request.continuation, strict=True)
        ]
        assert score.logprob == pytest.approx(sum(expected), abs=1e-3)
        best = rows.argmax(-1).tolist()
        assert score.greedy == (best == list(request.continuation))


def requests_of(ids: list[tuple[int, ...]]) -> list[Request]:
    """Continuations of one and of several tokens; two share their first tokens."""
    cut = [Request(one[:-size], one[-size:]) for one in ids for size in (1, 2, 6) if len(one) > 6]
    long = next(one for one in ids if len(one) > 8)
    return [*cut, Request(long[:2], long[2:]), Request(long[:2], (*long[2:-1], 7))]


def test_greedy_tokens_are_those_of_transformers(served: Any, prompts: list[str]) -> None:
    session, folders, _ = served
    assert_same_greedy_tokens(session, folders, encode(folders[0], prompts), 0.0)


def test_logprobs_are_those_of_transformers(served: Any, prompts: list[str]) -> None:
    session, folders, _ = served
    assert_same_logprobs(session, folders, requests_of(encode(folders[0], prompts)), 0.0)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.5])
def test_proxy_tuning_is_the_three_model_loop(
    large: Any, zoo_folders: Mapping[str, Path], prompts: list[str], alpha: float
) -> None:
    mix = proxy(alpha)
    folders = [zoo_folders[member.role] for member in mix.members]
    ids = encode(folders[0], prompts)[:60]
    large.load(folders[0], mix, folders)
    assert_same_greedy_tokens(large, folders, ids, alpha)
    assert_same_logprobs(large, folders, requests_of(ids), alpha)


def test_an_engine_alone_keeps_no_threads_that_wake_for_others(served: Any) -> None:
    *_, before = served
    assert num_group_threads() <= before + 1  # a mixture's layers keep one group alive


def test_reloaded_weights_are_served_and_experts_leave_with_their_candidate(
    large: Any, zoo_folders: Mapping[str, Path], prompts: list[str]
) -> None:
    ids = encode(zoo_folders["large_mix"], prompts)[:20]
    members = [zoo_folders[member.role] for member in MIX.members]
    large.load(members[0], MIX, members)
    large.generate([Generation(ids[0], 2)])
    for role in ("large_mix", "large_base"):
        large.load(zoo_folders[role])
        assert_same_greedy_tokens(large, [zoo_folders[role]], ids, 0.0)


def test_requests_that_join_late_change_no_token(
    large: Any, zoo_folders: Mapping[str, Path], prompts: list[str]
) -> None:
    """More requests than fit the batch, of many lengths, so that they come and go."""
    folders = [zoo_folders[member.role] for member in MIX.members]
    ids = [one[: 3 + at % 9] for at, one in enumerate(encode(folders[0], prompts) * 2)]
    large.load(folders[0], MIX, folders)
    asked = [Generation(one, 1 + at % 7, ignore_eos=True) for at, one in enumerate(ids)]
    together = [completion.token_ids for completion in large.generate(asked)]
    alone = [large.generate([one])[0].token_ids for one in asked[:40]]
    assert together[:40] == alone


def test_a_member_may_see_prompts_through_its_own_chat_template(
    large: Any, zoo_folders: Mapping[str, Path]
) -> None:
    from transformers import AutoTokenizer

    pair = Pair(expert="small_mix", antiexpert="small_base", own_prompt=True)
    mix = LogitMix(method="proxy", members=mix_members("large_base", [pair]))
    folders = [zoo_folders[member.role] for member in mix.members]
    tokenizer = AutoTokenizer.from_pretrained(folders[0])
    text = "anna has 3 shells, finds 4."
    plain, chat = tokenizer(f"{text}")["input_ids"], f"question: {text}\nanswer:"
    prompts = [plain, tokenizer(chat)["input_ids"], plain]
    given: list[int] = []
    for _ in range(NEW_TOKENS):
        base, expert, antiexpert = (
            logits_TV([folder], (*prompt, *given), 0.0)[-1]
            for folder, prompt in zip(folders, prompts, strict=True)
        )
        given.append(int((base + expert - antiexpert).argmax()))
    large.load(folders[0], mix, folders)
    (completion,) = large.generate([Generation(tuple(plain), NEW_TOKENS, ignore_eos=True)])
    assert list(completion.token_ids) == given
    continuation = tuple(given[:3])
    (score,) = large.score([Request(tuple(plain), continuation)])
    assert score.greedy


def test_weights_that_hold_nan_are_refused_and_the_engine_stays_usable(
    large: Any, zoo_folders: Mapping[str, Path], tmp_path: Path
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(zoo_folders["large_base"], tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    tensors["model.norm.weight"][0] = float("nan")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(HarnessError, match="NaN"):
        large.load(broken)
    large.load(zoo_folders["large_base"])
    assert large.generate([Generation((5, 6, 7), 2)])[0].token_ids


def test_a_repetition_penalty_and_least_tokens_are_transformers(
    large: Any, zoo_folders: Mapping[str, Path], prompts: list[str]
) -> None:
    folder = zoo_folders["large_base"]
    ids = encode(folder, prompts[:12])
    asked = [Generation(one, 12, repetition_penalty=1.6, min_tokens=12) for one in ids]
    for prompt, completion in zip(ids, large.generate(asked), strict=True):
        expected = model_of(folder).generate(
            torch.tensor([prompt]), max_new_tokens=12, min_new_tokens=12, do_sample=False,
            repetition_penalty=1.6, pad_token_id=0,
        )  # fmt: skip
        assert completion.token_ids == tuple(expected[0, len(prompt) :].tolist())


def test_a_token_beyond_the_embedding_is_no_prompt(large: Any) -> None:
    with pytest.raises(HarnessError, match="token 999999 .* beyond the model's"):
        large.generate([Generation((5, 999_999), 2)])
    with pytest.raises(HarnessError, match="token 999999"):
        large.score([Request((5, 6), (999_999, 7, 8, 9))])
