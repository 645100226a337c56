"""Mixtures of experts that are spliced from dense models."""

from typing import Any

import pytest
import torch
from method_zoo import TUNED, built, copies, logits, weights
from torch import Tensor
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, AutoTokenizer

from melange.baselines.moe.router import hidden_router
from melange.harness.checkpoints.info import inspect
from melange.harness.errors import HarnessError

pytestmark = pytest.mark.usefixtures("cache")


def moe(roles: tuple[str, ...], **options: Any) -> dict[str, Any]:
    experts = [{"role": role, "prompts": [f"w{i} w5", f"w{i + 7}"]} for i, role in enumerate(roles)]
    return {"method": "moe", "base": "large_base", "experts": experts, **options}


@pytest.mark.parametrize("gate_mode", ["hidden", "random", "uniform"])
@pytest.mark.parametrize("shared", ["base", "average"])
def test_equal_experts_leave_the_base_unchanged_in_a_mixture(gate_mode, shared, zoo, tmp_path):
    equal = copies(zoo["large_base"], tmp_path, ("large_base", *TUNED))
    path = built(moe(TUNED, gate_mode=gate_mode, shared=shared), equal)
    assert_close(logits(path), logits(zoo["large_base"]), atol=2e-5, rtol=1e-4)


def test_a_mixture_of_one_expert_a_token_runs_each_token_through_one_model(zoo):
    """With a zero router every token goes to the first expert."""
    path = built(moe(TUNED, gate_mode="uniform", experts_per_token=1), zoo)
    spliced = AutoModelForCausalLM.from_pretrained(zoo["large_base"])
    first = {k: v for k, v in weights(zoo[TUNED[0]]).items() if ".mlp." in k}
    spliced.load_state_dict(first, strict=False)
    with torch.inference_mode():
        expected = spliced(torch.arange(20).reshape(2, 10)).logits
    assert_close(logits(path), expected, atol=2e-5, rtol=1e-4)


def test_a_mixture_uses_part_of_its_parameters(zoo):
    info = inspect(built(moe(TUNED), zoo))
    base = inspect(zoo["large_base"])
    per_expert = 2 * 3 * 64 * 96
    assert info.architecture == "MixtralForCausalLM"
    assert info.num_parameters == base.num_parameters + 2 * per_expert + 2 * 3 * 64
    assert info.num_parameters - info.num_active_parameters == per_expert
    assert info.kv_bytes_per_token == base.kv_bytes_per_token


def test_the_router_holds_what_the_feed_forward_block_reads(zoo):
    """Reference: transformers' own modules, called one by one."""
    model = AutoModelForCausalLM.from_pretrained(zoo["large_base"])
    tokenizer = AutoTokenizer.from_pretrained(zoo["large_base"])
    block = model.model.layers[0]
    seen: list[Tensor] = []
    block.post_attention_layernorm.register_forward_hook(lambda *call: seen.append(call[2]))
    prompts = ["w1 w2 w3", "w4"]
    with torch.inference_mode():
        for prompt in prompts:
            model(tokenizer(prompt, return_tensors="pt").input_ids)
    mean = torch.stack([state[0].mean(dim=0) for state in seen]).mean(dim=0)
    router_LED = hidden_router(zoo["large_base"], [prompts, ["w5"]], [[], ["w6"]])
    assert router_LED.shape == (2, 2, 64)
    assert_close(router_LED[0, 0], mean / mean.norm())
    assert_close(router_LED.norm(dim=-1), torch.ones(2, 2))


def test_a_mixture_of_mixtures_is_refused(zoo):
    mixture = built(moe(TUNED, gate_mode="uniform"), zoo)
    with pytest.raises(HarnessError, match="cannot be a Mixtral's base"):
        built(moe(TUNED, gate_mode="random"), zoo, large_base=mixture)
