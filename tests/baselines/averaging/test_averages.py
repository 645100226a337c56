"""Averages are means of tensors, in memory and in the checkpoints on disk."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from method_zoo import TUNED, built, copies, weights
from safetensors.torch import save_file
from torch.testing import assert_close
from transformers import AutoModelForCausalLM

from melange.harness.checkpoints.arithmetic import exponential_average, uniform_average

pytestmark = pytest.mark.usefixtures("cache")

numbers = st.floats(-8, 8, width=32)
rows = st.lists(st.lists(numbers, min_size=5, max_size=5), min_size=2, max_size=2).map(torch.tensor)
states = st.lists(rows.map(lambda tensor: {"w": tensor}), min_size=1, max_size=6)


@given(state=rows, count=st.integers(1, 7), decay=st.floats(0, 0.99))
def test_an_average_of_equal_states_is_that_state(state, count, decay):
    equal = [{"w": state}] * count
    assert torch.equal(uniform_average(equal)["w"], state)
    assert torch.equal(exponential_average(equal, decay)["w"], state)


@given(several=states)
def test_the_uniform_average_is_the_mean(several):
    expected = torch.stack([state["w"] for state in several]).mean(dim=0)
    assert_close(uniform_average(several)["w"], expected, atol=1e-5, rtol=1e-5)


@given(several=states, decay=st.floats(0, 0.99))
def test_the_exponential_average_has_its_closed_form(several, decay):
    last = len(several) - 1
    factors = [decay**last] + [(1 - decay) * decay ** (last - i) for i in range(1, last + 1)]
    expected = sum(factor * state["w"] for factor, state in zip(factors, several, strict=True))
    assert_close(exponential_average(several, decay)["w"], expected, atol=1e-4, rtol=1e-4)


@given(several=states)
def test_averages_are_made_in_float32_and_leave_the_states_untouched(several):
    halves = [{"w": state["w"].bfloat16()} for state in several]
    before = [state["w"].clone() for state in halves]
    assert uniform_average(iter(halves))["w"].dtype == torch.float32
    assert all(torch.equal(a, state["w"]) for a, state in zip(before, halves, strict=True))


@pytest.mark.parametrize("method", ["swa", "ema", "lawa"])
def test_averaging_equal_checkpoints_gives_that_checkpoint(method, zoo, tmp_path):
    run = ("large_base@100", "large_base@200", "large_base@300")
    equal = copies(zoo["large_base"], tmp_path, run)
    entry = {"method": method} | ({"k": 3} if method == "lawa" else {})
    result, expected = weights(built(entry, equal)), weights(zoo["large_base"])
    assert result.keys() == expected.keys()
    assert all(torch.equal(result[name], expected[name]) for name in expected)


def test_an_average_of_sharded_checkpoints_is_that_of_whole_ones(zoo, tmp_path):
    run = ("large_base@200", "large_base@300")
    sharded = {role: tmp_path / role for role in run}
    for role in run:
        model = AutoModelForCausalLM.from_pretrained(zoo[role])
        model.save_pretrained(sharded[role], max_shard_size="100KB")
    result = built({"method": "lawa", "k": 2}, zoo, **sharded)
    whole = built({"method": "lawa", "k": 2}, zoo)
    assert_close(weights(result), weights(whole))


@pytest.mark.parametrize("entry", [{"method": "lawa", "k": 2}, {"mergekit": "soup-linear"}])
def test_what_is_stored_rounded_is_combined_in_the_type_it_is_computed_in(entry, zoo, tmp_path):
    roles = ("large_base", "large_base@200", "large_base@300", *TUNED)
    rounded = copies(zoo["large_base"], tmp_path, roles)
    for role, folder in rounded.items():
        state = {name: tensor.bfloat16() for name, tensor in weights(zoo[role]).items()}
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    mixed = built(entry, rounded)
    result = weights(mixed)["model.layers.0.mlp.up_proj.weight"]
    assert result.dtype == torch.float32
    assert not torch.equal(result, result.bfloat16().float())
