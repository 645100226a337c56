"""Fused models give their members' outputs in transformers, combined by the formula."""

from pathlib import Path
from typing import Any

import pytest
import torch
from fused_answers import (
    Answer,
    answer_of,
    ask,
    assert_answers,
    assert_same,
    counted,
    engine,
    greedy,
    model_of,
    proxy_tuned,
)
from fused_models import TOKENIZER, draw_case, draw_prompts, make_member, same_shapes
from torch import Tensor
from transformers import (
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from melange.harness.engines.fused.folder import write_folder
from melange.harness.engines.reload import reload_weights
from melange.harness.errors import HarnessError

NUM_CASES = 3
PROMPTS_PER_CASE = 50
NEW_TOKENS = 64


@pytest.mark.slow
@pytest.mark.parametrize("number", range(NUM_CASES))
def test_tokens_and_logprobs_are_those_of_a_three_model_loop(number: int, tmp_path: Path) -> None:
    case = draw_case(number, tmp_path)
    prompts = draw_prompts(number, PROMPTS_PER_CASE, tokens=(2, 64))
    with engine(case.folder) as llm:
        scored = ask(llm, prompts, NEW_TOKENS, score=True)
        cached = ask(llm, prompts, 4)
    assert_answers(scored, case.members, proxy_tuned(case.alpha))
    assert_answers(cached, case.members, proxy_tuned(case.alpha))
    model_of.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("number", range(2))
def test_the_logits_processor_says_the_same(number: int, tmp_path: Path) -> None:
    from melange.harness.engines.mix_processor import LogitMixing

    case = draw_case(number, tmp_path)
    prompts = draw_prompts(number, 8, tokens=(2, 64))
    mix = {
        "combine": "logits",
        "coefficients": [1.0, case.alpha, -case.alpha],
        "folders": [str(folder) for folder in case.members[1:]],
        "prompts": [None, None],
    }
    with engine(case.folder) as llm:
        fused = ask(llm, prompts, 16)
    with engine(case.members[0], logits_processors=[LogitMixing], async_scheduling=False) as llm:
        processed = ask(llm, prompts, 16, mix=mix)
    assert_same(processed, fused, atol=1e-3)


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return same_shapes(tmp_path_factory.mktemp("members"), seed=1, count=5)


@pytest.fixture(scope="module")
def fused(members: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Proxy-tuning with alpha = 1.5."""
    out = tmp_path_factory.mktemp("candidate")
    return write_folder(out / "fused", members[:3], [1, 1.5, -1.5]).path


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    """They share more than one cache block, and together need more than the small pool."""
    return draw_prompts(0, 24, tokens=(1, 60), start=draw_prompts(1, 1, tokens=(40, 40))[0])


@pytest.fixture(scope="module")
def plain(fused: Path, prompts: list[list[int]]) -> list[Answer]:
    """One request at a time, without a prefix cache."""
    with engine(fused, enable_prefix_caching=False, max_num_seqs=1) as llm:
        return ask(llm, prompts, 32)


@pytest.mark.slow
def test_one_request_at_a_time_is_the_three_model_loop(
    plain: list[Answer], members: list[Path]
) -> None:
    assert_answers(plain, members[:3], proxy_tuned(1.5))


@pytest.mark.slow
def test_prefix_caching_changes_no_token(
    fused: Path, prompts: list[list[int]], plain: list[Answer]
) -> None:
    with engine(fused) as llm:
        assert_same(ask(llm, prompts, 32), plain)
        assert_same(ask(llm, prompts, 32), plain)
        assert counted(llm, "prefix_cache_hits") > 0


@pytest.mark.slow
def test_chunked_prefill_changes_no_token(
    fused: Path, prompts: list[list[int]], plain: list[Answer]
) -> None:
    with engine(fused, max_num_batched_tokens=32, max_num_seqs=8) as llm:
        assert_same(ask(llm, prompts, 32), plain)


@pytest.mark.slow
def test_preemption_changes_no_token(
    fused: Path, prompts: list[list[int]], plain: list[Answer]
) -> None:
    with engine(fused, num_gpu_blocks_override=12) as llm:
        assert_same(ask(llm, prompts, 32), plain)
        assert counted(llm, "num_preemptions") > 0


@pytest.mark.slow
def test_requests_that_join_late_change_no_token(
    fused: Path, prompts: list[list[int]], plain: list[Answer]
) -> None:
    """A request joins at every step, so that steps mix prefill and decode."""
    finished: dict[str, Any] = {}
    with engine(fused, max_num_seqs=16) as llm:
        waiting = dict(enumerate(prompts))
        while waiting or llm.llm_engine.has_unfinished_requests():
            if waiting:
                number = min(waiting)
                inputs = {"prompt_token_ids": waiting.pop(number)}
                llm.llm_engine.add_request(str(number), inputs, greedy(32, score=False))
            finished |= {o.request_id: o for o in llm.llm_engine.step() if o.finished}
    assert_same([answer_of(finished[str(number)]) for number in range(len(prompts))], plain)


def two_pairs(each: list[Tensor]) -> Tensor:
    return each[0] + 0.7 * (each[1] - each[2]) - 0.4 * (each[3] - each[4])


@pytest.mark.slow
def test_several_pairs_add_up(
    members: list[Path], prompts: list[list[int]], tmp_path: Path
) -> None:
    write_folder(tmp_path, members, [1, 0.7, -0.7, -0.4, 0.4])
    with engine(tmp_path) as llm:
        answers = ask(llm, prompts, 16, score=True)
    assert_answers(answers, members, two_pairs)


@pytest.mark.slow
def test_mean_of_probabilities_is_its_formula(
    members: list[Path], prompts: list[list[int]], tmp_path: Path
) -> None:
    write_folder(tmp_path, members[:3], [0.5, 0.2, 0.3], "probabilities")
    with engine(tmp_path) as llm:
        answers = ask(llm, prompts, 16, score=True)

    def formula(each: list[Tensor]) -> Tensor:
        p = [logits.softmax(-1) for logits in each]
        return (0.5 * p[0] + 0.2 * p[1] + 0.3 * p[2]).log()

    assert_answers(answers, members[:3], formula)


@pytest.mark.slow
def test_contrastive_decoding_rules_out_what_the_base_finds_implausible(
    members: list[Path], prompts: list[list[int]], tmp_path: Path
) -> None:
    write_folder(tmp_path, members[:2], [1.5, -0.5], plausibility=0.1)
    with engine(tmp_path) as llm:
        answers = ask(llm, prompts, 16)

    def formula(each: list[Tensor]) -> Tensor:
        p = each[0].softmax(-1)
        plausible = p >= 0.1 * p.max(-1, keepdim=True).values
        return (1.5 * each[0] - 0.5 * each[1]).where(plausible, -torch.inf)

    assert_answers(answers, members[:2], formula)


@pytest.mark.slow
def test_a_reloaded_engine_is_a_fresh_one(
    fused: Path, prompts: list[list[int]], members: list[Path], tmp_path: Path
) -> None:
    """Reloads other weights and another alpha in place, then alpha = 0, which is the base."""
    from melange.harness.engines.fused.weights import iterate_weights

    others = same_shapes(tmp_path, seed=7)
    other = write_folder(tmp_path / "other", others, [1, -0.5, 0.5]).path
    base = write_folder(tmp_path / "base", members[:3], [1, 0, 0]).path
    with engine(other) as fresh:
        expected = ask(fresh, prompts, 32)
    with engine(fused) as llm:
        ask(llm, prompts, 2)
        reload_weights(llm, other)
        assert_same(ask(llm, prompts, 32), expected)
        reload_weights(llm, iterate_weights(base))
        assert_answers(ask(llm, prompts, 16, score=True), members[:1], lambda each: each[0])
        reload_weights(llm, iterate_weights(other))
        assert_same(ask(llm, prompts, 32), expected)
        averaged = write_folder(tmp_path / "mean", members[:3], [0.4, 0.3, 0.3], "probabilities")
        with pytest.raises(HarnessError, match="engine runs logits of 3 models; start an engine"):
            reload_weights(llm, averaged.path)
    assert_answers(expected, others, proxy_tuned(-0.5))


def shape(config: type[PreTrainedConfig], *, width: int, **window: Any) -> PreTrainedConfig:
    return config(
        vocab_size=len(TOKENIZER), hidden_size=width, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=width // 32, num_key_value_heads=1, max_position_embeddings=256,
        **window,
    )  # fmt: skip


WINDOWED = {
    "one window": [shape(MistralConfig, width=64, sliding_window=64)] * 3,
    "several windows, and none": [
        shape(
            Qwen2Config, width=128, use_sliding_window=True, sliding_window=96,
            max_window_layers=0,
        ),
        shape(
            Qwen3Config, width=64, head_dim=32, use_sliding_window=True, sliding_window=40,
            max_window_layers=0,
        ),
        shape(LlamaConfig, width=128),
    ],
    "a mixture with a window": [
        shape(MistralConfig, width=128, sliding_window=48),
        shape(MixtralConfig, width=64, sliding_window=64, num_local_experts=4),
        shape(LlamaConfig, width=64),
    ],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", WINDOWED)
def test_members_keep_their_sliding_windows(name: str, tmp_path: Path) -> None:
    """Prompts are much longer than a window; a warm prefix cache holds the earlier tokens."""
    parts = enumerate(WINDOWED[name])
    members = [make_member(tmp_path / f"{at}", config, seed=at) for at, config in parts]
    folder = write_folder(tmp_path / "fused", members, [1, 0.8, -0.8]).path
    prompts = draw_prompts(0, 8, tokens=(20, 220))
    with engine(folder, max_model_len=256) as llm:
        scored = ask(llm, prompts, 16, score=True)
        cached = ask(llm, prompts, 16)
        assert counted(llm, "prefix_cache_hits") > 0
    assert_answers(scored, members, proxy_tuned(0.8))
    assert_answers(cached, members, proxy_tuned(0.8))
