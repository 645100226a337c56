"""A reload replaces every weight; for a checkpoint where it cannot, another engine is started."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from fused_models import TOKENIZER, draw_prompts, make_member
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GptOssConfig,
    OlmoeConfig,
    PreTrainedConfig,
    Qwen3MoeConfig,
)

import melange.harness.engines.environment  # noqa: F401 (before vllm)
from melange.harness.checkpoints.info import inspect
from melange.harness.engine_shapes import shape_of
from melange.harness.engines.stale import PACKED, filled_memory, spoil, spoilt
from melange.harness.requests import Request

CONTEXT = 256
PLAIN: dict[str, Any] = {
    "vocab_size": len(TOKENIZER),
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": CONTEXT,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2}
YARN = {
    "rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": CONTEXT // 2,
    "rope_theta": 150_000.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False,
}  # fmt: skip
RELOADED: Mapping[str, PreTrainedConfig] = {
    "Gemma 2": Gemma2Config(**PLAIN, head_dim=32, query_pre_attn_scalar=32, sliding_window=64),
    "OLMoE": OlmoeConfig(**PLAIN, **EXPERTS),
    "Qwen3-MoE": Qwen3MoeConfig(**PLAIN, **EXPERTS, head_dim=32, moe_intermediate_size=64),
}
GPT_OSS = GptOssConfig(
    **PLAIN, head_dim=32, num_local_experts=4, num_experts_per_tok=2, sliding_window=64,
    rope_parameters=YARN,
)  # fmt: skip


@pytest.fixture(scope="module")
def requests() -> list[Request]:
    prompts = [tuple(one) for one in draw_prompts(0, 6, tokens=(40, 120))]
    return [Request(one[:-size], one[-size:]) for one in prompts for size in (1, 8)]


def logprobs(folder: Path, requests: Sequence[Request]) -> list[float]:
    """Transformers' log-probabilities; only eager attention has soft caps and sinks."""
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    return [logprob(model, *request) for request in requests]


@torch.inference_mode()
def logprob(model: Any, context: tuple[int, ...], continuation: tuple[int, ...]) -> float:
    logits_TV = model(torch.tensor([[*context, *continuation]])).logits[0].double()
    rows_TV = logits_TV.log_softmax(-1)[len(context) - 1 : -1]
    return float(rows_TV.gather(-1, torch.tensor([continuation]).T).sum())


def three(out: Path, config: PreTrainedConfig) -> list[Path]:
    """Checkpoints of one shape."""
    return [make_member(out / str(seed), config, seed=seed) for seed in (1, 11, 21)]


def open_session(folder: Path) -> Any:
    from melange.harness.engines.session import EngineSession

    return EngineSession(folder, shape_of([inspect(folder)], folder, "cpu"))


def assert_serves(session: Any, expected: list[float], requests: list[Request]) -> None:
    found = [score.logprob for score in session.score(requests)]
    assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", RELOADED)
def test_a_whole_reload_keeps_the_engine(
    name: str, requests: list[Request], tmp_path: Path
) -> None:
    folders = three(tmp_path, RELOADED[name])[:2]
    expected = [logprobs(folder, requests) for folder in folders]
    session = open_session(folders[0])
    before = session._engine.llm
    for at in (1, 0):
        session.load(folders[at])
        assert_serves(session, expected[at], requests)
    assert session._engine.llm is before
    session.close()


@pytest.mark.slow
def test_what_vllm_does_not_reload_is_served_by_a_fresh_engine(
    requests: list[Request], tmp_path: Path
) -> None:
    """GPT-OSS: its loader writes sinks and experts without the reload's knowledge."""
    base, tuned, other = three(tmp_path, GPT_OSS)
    expected = {folder: logprobs(folder, requests) for folder in (base, tuned, other)}
    session = open_session(base)
    assert_serves(session, expected[base], requests)
    for folder in (tuned, other):
        session.load(folder)
        assert_serves(session, expected[folder], requests)
    assert not session._engine.reloads
    session.close()


@pytest.mark.slow
def test_an_engine_whose_reload_broke_off_is_replaced(
    requests: list[Request], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder, other, _ = three(tmp_path, RELOADED["Qwen3-MoE"])
    expected = logprobs(other, requests)
    state = load_file(other / "model.safetensors")
    session = open_session(folder)
    wrong = shutil.copytree(other, tmp_path / "wrong")
    save_file(state | {"model.norm.weight": torch.ones(3)}, wrong / "model.safetensors")
    with pytest.raises(Exception, match="load weight"):
        session.load(wrong)
    session.load(other)
    assert_serves(session, expected, requests)
    assert session._engine.reloads
    session.close()


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3))
        self.words = nn.Parameter(torch.arange(6, dtype=torch.int32), requires_grad=False)
        self.small = nn.Parameter(torch.ones(4).to(torch.float8_e4m3fn), requires_grad=False)
        self.register_buffer("table", torch.arange(3.0))
        self.empty = nn.Parameter(torch.empty(0))
        setattr(self, PACKED, torch.nn.functional.linear)


def test_what_is_not_written_shows_itself() -> None:
    layer = Layer()
    assert spoilt(layer) == []
    spoil(layer)
    assert set(spoilt(layer)) == {"weight", "words", "small", f".{PACKED}"}
    assert layer.get_buffer("table").tolist() == [0, 1, 2]
    with torch.no_grad():
        layer.weight[1:] = 1.0  # only a part of it
        layer.words[0] = 3  # an int32, whose other values may be legitimate
        layer.small.copy_(torch.ones(4))
    setattr(layer, PACKED, torch.nn.functional.linear)
    assert spoilt(layer) == ["weight"]


def test_memory_that_nobody_writes_is_no_number() -> None:
    with filled_memory():
        assert torch.empty(3).isnan().all()
        assert torch.empty_strided((2, 2), (2, 1)).isnan().all()
    assert not torch.are_deterministic_algorithms_enabled()
