"""Merges by mergekit, of a model with itself and of fine-tunes."""

import json

import pytest
import torch
import yaml
from checkpoint_makers import make_llama
from method_zoo import TUNED, built, copies, weights
from torch.testing import assert_close
from transformers import AutoTokenizer

from melange.baselines.merging.mergekit import RECIPES
from melange.harness.checkpoints.arithmetic import uniform_average
from melange.harness.checkpoints.info import inspect
from melange.harness.errors import HarnessError

pytestmark = pytest.mark.usefixtures("cache")

RECIPE_NAMES = sorted(file.stem for file in RECIPES.glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPE_NAMES)
def test_a_merge_of_a_model_with_itself_is_the_model(recipe, zoo, tmp_path):
    equal = copies(zoo["large_knowledge"], tmp_path, ("large_base", *TUNED))
    path = built({"mergekit": recipe}, equal)
    assert_close(weights(path), weights(zoo["large_knowledge"]), atol=2e-6, rtol=1e-5)
    assert (path / "generation_config.json").is_file()
    assert len(AutoTokenizer.from_pretrained(path)) == inspect(path).vocab_size


@pytest.mark.parametrize("recipe", RECIPE_NAMES)
def test_a_merge_of_fine_tunes_is_another_model_of_the_same_shape(recipe, zoo):
    path = built({"mergekit": recipe}, zoo)
    result = weights(path)["model.layers.0.mlp.up_proj.weight"]
    assert inspect(path).signature == inspect(zoo["large_base"]).signature
    for role in ("large_base", *TUNED):
        same = weights(zoo[role])["model.layers.0.mlp.up_proj.weight"]
        assert not torch.allclose(result, same, atol=1e-4)


def test_the_linear_soup_is_the_uniform_average(zoo):
    expected = uniform_average(weights(zoo[role]) for role in TUNED)
    assert_close(weights(built({"mergekit": "soup-linear"}, zoo)), expected)


def test_merges_keep_the_inputs_type(tmp_path):
    base = make_llama(tmp_path / "base", seed=0, dtype=torch.bfloat16)
    folders = {"large_base": base} | {
        role: make_llama(tmp_path / role, seed=seed, near=base, dtype=torch.bfloat16)
        for seed, role in enumerate(TUNED, 1)
    }
    path = built({"mergekit": "task-arithmetic"}, folders)
    assert inspect(path).dtype == "bfloat16"
    assert json.loads((path / "config.json").read_text())["dtype"] == "bfloat16"


def test_random_masks_follow_the_seed(zoo, cache):
    first = weights(built({"mergekit": "dare-ties"}, zoo))
    other = weights(built({"mergekit": "dare-ties", "seed": 1}, zoo))
    for path in (cache / "artifacts").iterdir():
        path.rename(cache / path.name)
    again = weights(built({"mergekit": "dare-ties"}, zoo))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_a_role_of_a_trajectory_can_be_merged(zoo, tmp_path):
    """Its folder's name contains an @, which mergekit would take for a revision."""
    models = [{"model": role, "parameters": {"weight": 1}} for role in ("large_base@100", TUNED[0])]
    recipe = tmp_path / "half.yaml"
    recipe.write_text(yaml.safe_dump({"merge_method": "linear", "models": models}))
    expected = uniform_average(weights(zoo[role]) for role in ("large_base@100", TUNED[0]))
    assert_close(weights(built({"mergekit": str(recipe)}, zoo)), expected)


def test_what_mergekit_refuses_is_told_in_one_line(zoo, tmp_path):
    recipe = tmp_path / "odd.yaml"
    recipe.write_text("merge_method: no_such\nmodels: [{model: large_base}]")
    with pytest.raises(HarnessError, match="mergekit refuses this no_such recipe") as error:
        built({"mergekit": str(recipe)}, zoo)
    assert "\n" not in str(error.value)


def test_models_with_other_tokens_are_not_merged(zoo, tmp_path):
    words = [f"v{index}" for index in range(94)]
    other = make_llama(tmp_path / "other", seed=5, words=words)
    with pytest.raises(HarnessError, match="other tokens than"):
        built({"mergekit": "ties"}, zoo, large_arithmetic=other)
