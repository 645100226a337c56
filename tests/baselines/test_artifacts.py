"""Artifacts that methods build are complete or absent."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from method_zoo import built, copies, one, weights
from zoo_of_folders import made

from melange.baselines.catalog import methods
from melange.harness.checkpoints.built import artifact_name, build_seconds
from melange.harness.checkpoints.checksums import folder_hash
from melange.harness.checkpoints.info import inspect
from melange.harness.errors import HarnessError

pytestmark = pytest.mark.usefixtures("cache")


def test_a_checkpoint_is_its_own_folder(zoo):
    assert built({"method": "checkpoint", "roles": "large_base"}, zoo) == zoo["large_base"]
    assert build_seconds(zoo["large_base"]) is None


def test_an_artifact_is_built_once_and_again_when_an_input_changes(zoo, cache):
    candidate = one({"method": "swa"})
    fingerprints = dict.fromkeys(candidate.recipe.inputs, "1")
    path = made(candidate, zoo, fingerprints)
    built_at = (path / "model.safetensors").stat().st_mtime_ns
    assert made(candidate, zoo, fingerprints) == path
    assert (path / "model.safetensors").stat().st_mtime_ns == built_at
    assert build_seconds(path) >= 0
    assert made(candidate, zoo, fingerprints | {"large_base@300": "2"}) != path
    assert len(list((cache / "artifacts").iterdir())) == 2


def test_a_half_built_folder_is_never_used(zoo):
    candidate = one({"method": "swa"})
    path = made(candidate, zoo, {})
    (path / "done.json").unlink()
    (path / "model.safetensors").write_bytes(b"half")
    assert made(candidate, zoo, {}) == path
    assert inspect(path).signature == inspect(zoo["large_base"]).signature


def broken_tensors(change):
    def tensors(recipe, inputs):
        state = weights(inputs["large_base@300"])
        change(state)
        return state.items()

    return tensors


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state: state["lm_head.weight"].fill_(float("nan")), "lm_head.weight holds NaN"),
        (lambda state: state["lm_head.weight"].fill_(float("inf")), "lm_head.weight holds NaN"),
        (lambda state: state.pop("model.norm.weight"), "model.norm.weight is missing"),
        (
            lambda state: state.update({"model.norm.weight": torch.ones(63)}),
            r"model.norm.weight is \[63\] in the result and \[64\] in",
        ),
    ],
)
def test_a_broken_result_is_not_accepted(change, says, zoo, cache, monkeypatch):
    monkeypatch.setattr(methods()["swa"], "tensors", broken_tensors(change), raising=False)
    with pytest.raises(HarnessError, match=says):
        made(one({"method": "swa"}), zoo, {})
    assert list((cache / "artifacts").iterdir()) == []


def test_an_input_that_no_zoo_has_is_told(zoo):
    with pytest.raises(HarnessError, match=r"no checkpoint for 'large_base@\*'"):
        made(one({"method": "lawa", "run": "large_base", "k": 9}), zoo, {})


def test_an_absolute_folder_is_known_by_its_files(tmp_path, zoo):
    folder = copies(zoo["large_base"], tmp_path, ("own",))["own"]
    before, weights = folder_hash(folder), folder / "model.safetensors"
    weights.touch()
    assert folder_hash(folder) == before
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert folder_hash(folder) != before


@settings(max_examples=20)
@given(name=st.text(min_size=1, max_size=8))
def test_any_candidate_name_makes_a_plain_folder_name(name):
    recipe = one({"method": "swa"}).recipe
    assert "/" not in artifact_name(name, recipe, {}, methods()["swa"])
