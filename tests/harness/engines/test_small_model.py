"""A small model beside the engine gives transformers' logits for each request alone."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from fused_models import TOKENIZER, draw_prompts, make_member
from mixes import Mix, serve
from torch import Tensor
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, PreTrainedConfig

from melange.harness.engines.small_model import Row, SmallModel

pytestmark = pytest.mark.slow

NUM_SLOTS = 6
NUM_REQUESTS = 12
WINDOW = 16
SIZES: Mapping[str, Any] = {
    "vocab_size": len(TOKENIZER),
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
}
GROUPED = {**SIZES, "num_key_value_heads": 1}
ONE_LAYER_SLIDES = {
    "sliding_window": WINDOW,
    "layer_types": ["sliding_attention", "full_attention"],
}


def longrope() -> PreTrainedConfig:
    factors = {"short_factor": [1.0] * 16, "long_factor": [1.0 + i for i in range(16)]}
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 24}
    return transformers.Phi3Config(
        **GROUPED, rope_parameters=rope | factors, original_max_position_embeddings=24
    )


KINDS: Mapping[str, Callable[[], PreTrainedConfig]] = {
    "scaled logits": lambda: transformers.GraniteConfig(**GROUPED, logits_scaling=8.0),
    "soft caps and a window": lambda: transformers.Gemma2Config(
        **GROUPED,
        **ONE_LAYER_SLIDES,
        head_dim=32,
        query_pre_attn_scalar=32,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=4.0,
    ),
    "all layers slide": lambda: transformers.Starcoder2Config(**GROUPED, sliding_window=WINDOW),
    "sinks": lambda: transformers.GptOssConfig(
        **GROUPED, **ONE_LAYER_SLIDES, head_dim=32, num_local_experts=4, num_experts_per_tok=2
    ),
    "learned positions": lambda: transformers.OPTConfig(
        **{**SIZES, "ffn_dim": 64, "word_embed_proj_dim": 64}
    ),
    "positions from the mask": lambda: transformers.BloomConfig(
        vocab_size=len(TOKENIZER), hidden_size=64, n_layer=2, n_head=2
    ),
    "a mixture that reports its load": lambda: transformers.MixtralConfig(
        **GROUPED, num_local_experts=4, num_experts_per_tok=2, output_router_logits=True
    ),
    "angles by length": longrope,
}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    folders = tmp_path_factory.mktemp("kinds")

    @cache
    def make(kind: str, seed: int) -> Path:
        return make_member(folders / f"{len(list(folders.iterdir()))}", KINDS[kind](), seed=seed)

    return make


@cache
def model_of(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()


@torch.inference_mode()
def logits_after(folder: Path, token_ids: Sequence[int]) -> Tensor:
    """Transformers' logits after each token, without a cache or a batch, [tokens, V]."""
    logits: Tensor = model_of(folder)(torch.tensor([token_ids]), use_cache=False).logits[0]
    return logits


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_come_and_go_are_what_each_is_alone(
    kind: str, folder_of: Callable[[str, int], Path]
) -> None:
    """Requests join late, skip steps, repeat a step, end, start over; slots are recycled."""
    folder, rng = folder_of(kind, 0), random.Random(kind)
    model = SmallModel(folder, dtype=torch.float32, device=torch.device("cpu"))
    waiting = draw_prompts(1, NUM_REQUESTS, tokens=(1, 3 * WINDOW))
    rows: dict[int, list[int]] = {}
    while waiting or rows:
        free = [slot for slot in range(NUM_SLOTS) if slot not in rows]
        if free and waiting:
            rows[rng.choice(free)] = waiting.pop()
        asked = rng.sample(sorted(rows), rng.randint(1, len(rows)))
        said_RV = model.next_logits([Row(slot, rows[slot]) for slot in asked])
        for slot, said_V in zip(asked, said_RV, strict=True):
            assert_close(said_V, logits_after(folder, rows[slot])[-1], atol=1e-4, rtol=0)
            if rng.random() < 0.9:
                rows[slot] = [*rows[slot], rng.randrange(2, len(TOKENIZER))]
            if (ends := rng.random() < 0.1) or rng.random() < 0.05:
                model.forget(slot)
            if ends:
                del rows[slot]


def test_a_recurrent_model_is_right_without_a_cache(tmp_path: Path) -> None:
    config = transformers.MambaConfig(
        vocab_size=len(TOKENIZER), hidden_size=64, num_hidden_layers=2, state_size=4
    )
    folder = make_member(tmp_path, config, seed=0)
    model = SmallModel(folder, dtype=torch.float32, device=torch.device("cpu"))
    prompts = draw_prompts(0, 4, tokens=(3, 5))
    for _ in range(2):
        said_RV = model.next_logits([Row(slot, prompt) for slot, prompt in enumerate(prompts)])
        for prompt, said_V in zip(prompts, said_RV, strict=True):
            assert_close(said_V, logits_after(folder, prompt)[-1], atol=1e-4, rtol=0)
            prompt.append(7)


# Beside an engine whose own model is also transformers', of the same class.

SERVED = ("scaled logits", "soft caps and a window", "learned positions")


@pytest.fixture(scope="module")
def engine_process() -> Iterator[ProcessPoolExecutor]:
    """A separate process: vLLM's Transformers backend changes transformers' classes globally."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


def test_proxies_beside_a_base_that_transformers_models_for_vllm(
    engine_process: ProcessPoolExecutor,
    folder_of: Callable[[str, int], Path],
    tmp_path: Path,
) -> None:
    """A request joins at each step, with its beginning in the prefix cache."""
    base, *same_class = (
        make_member(tmp_path / f"{seed}", transformers.GPTNeoXConfig(**SIZES), seed=seed)
        for seed in range(3)
    )
    pairs = [[folder_of(kind, seed) for seed in (0, 1)] for kind in SERVED] + [same_class]
    mixes = [proxy(pair, alpha) for alpha in (0.7, 1.3) for pair in pairs]
    start = draw_prompts(2, 1, tokens=(32, 32))[0]
    prompts = draw_prompts(3, len(mixes), tokens=(1, 100), start=start)
    served = engine_process.submit(serve, base, prompts, mixes, {}).result()
    for mix, prompt, answer in zip(mixes, prompts, served.answers, strict=True):
        said = [*prompt, *answer.token_ids]
        each = [logits_after(Path(one), said) for one in (base, *mix["folders"])]
        mixed_TV = sum(c * one for c, one in zip(mix["coefficients"], each, strict=True))
        logprobs_TV = mixed_TV[len(prompt) - 1 : -1].log_softmax(-1)
        assert logprobs_TV.argmax(-1).tolist() == answer.token_ids
        expected = logprobs_TV.max(-1).values
        assert_close(torch.tensor(answer.logprobs), expected, atol=1e-3, rtol=0)


def proxy(folders: Sequence[Path], alpha: float) -> Mix:
    return {
        "combine": "logits",
        "coefficients": [1.0, alpha, -alpha],
        "folders": [str(folder) for folder in folders],
        "prompts": [None, None],
    }
