"""Merges of every architecture equal the formula applied to the files' tensors."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from architectures import make, rewrite
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close
from zoo_of_folders import candidates_of, made

from melange.harness.checkpoints.info import inspect
from melange.harness.checkpoints.tensors import read_tensors
from melange.harness.errors import HarnessError

State = dict[str, Tensor]
KINDS = (
    "Mixtral", "Qwen2Moe", "Qwen3Moe", "Olmoe", "GraniteMoe", "DeepseekV3", "GPTNeoX", "Falcon",
    "Cohere", "Qwen2", "GPT2", "Llama with biases",
)  # fmt: skip
LINEAR = {
    "merge_method": "linear",
    "models": [{"model": role, "parameters": {"weight": 0.5}} for role in ("math", "code")],
}
TASK = {
    "merge_method": "task_arithmetic",
    "base_model": "start",
    "models": [
        {"model": "math", "parameters": {"weight": 0.7}},
        {"model": "code", "parameters": {"weight": 0.5}},
    ],
}
AVERAGE = {"method": "swa", "run": "start", "start": 0.0}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELANGE_CACHE", str(tmp_path / "cache"))


def family(kind: str, root: Path, **changes: Any) -> dict[str, Path]:
    start = make(kind, root / "start", **changes)
    return {"start": start} | {
        role: make(kind, root / role, seed=seed, near=start)
        for seed, role in enumerate(("math", "code"), 1)
    }


def combined(entry: dict[str, Any], folders: dict[str, Path], tmp_path: Path) -> State:
    """The recipe's result, with the tensor names of the first model's files."""
    if "merge_method" in entry:
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(entry))
        entry = {"mergekit": str(tmp_path / "recipe.yaml")}
    (candidate,) = candidates_of([entry], list(folders), where="s.yaml")
    path = made(candidate, folders, {role: str(folder) for role, folder in folders.items()})
    return read_tensors(path, inspect(next(iter(folders.values()))).shapes)


def stored(folder: Path) -> State:
    return read_tensors(folder, inspect(folder).shapes)


def mean(one: State, other: State) -> State:
    return {name: (one[name] + other[name]) / 2 for name in one}


@pytest.mark.parametrize("kind", KINDS)
def test_merges_are_the_formula_under_the_names_of_the_files(kind: str, tmp_path: Path) -> None:
    biased = {"attention_bias": True, "mlp_bias": True} if "biases" in kind else {}
    folders = family(kind.partition(" ")[0], tmp_path, **biased)
    start, math, code = map(stored, folders.values())
    expected = mean(math, code)
    assert_close(combined(LINEAR, folders, tmp_path), expected, atol=1e-6, rtol=0)
    expected = {
        name: start[name] + 0.7 * (math[name] - start[name]) + 0.5 * (code[name] - start[name])
        for name in start
    }
    assert_close(combined(TASK, folders, tmp_path), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["Mixtral", "GPTNeoX"])
def test_what_is_built_on_disk_has_the_names_of_the_files_too(kind: str, tmp_path: Path) -> None:
    folders = family(kind, tmp_path)
    result = combined(LINEAR | {"dtype": "float32"}, folders, tmp_path)
    expected = mean(stored(folders["math"]), stored(folders["code"]))
    assert_close(result, expected, atol=1e-6, rtol=0)


def test_layers_are_stacked_whatever_the_architecture(tmp_path: Path) -> None:
    folders = {"start": make("Falcon", tmp_path / "start")}
    rows = [{"sources": [{"model": "start", "layer_range": [0, 2]}]}] * 2
    (tmp_path / "up.yaml").write_text(
        yaml.safe_dump({"merge_method": "passthrough", "slices": rows})
    )
    (candidate,) = candidates_of(
        [{"mergekit": str(tmp_path / "up.yaml")}], ["start"], where="s.yaml"
    )
    path = made(candidate, folders, {"start": "1"})
    config, state = inspect(path), load_file(path / "model.safetensors")
    assert config.kv_bytes_per_token == 2 * inspect(folders["start"]).kv_bytes_per_token
    name = "transformer.h.{}.mlp.dense_h_to_4h.weight"
    assert torch.equal(state[name.format(2)], stored(folders["start"])[name.format(0)])


def test_a_gpt2_as_the_hub_has_it_is_merged_under_its_short_names(tmp_path: Path) -> None:
    folders = family("GPT2", tmp_path)
    for folder in folders.values():
        rewrite(folder, lambda s: {n.removeprefix("transformer."): t for n, t in s.items()})
    assert "h.0.attn.c_attn.weight" in stored(folders["start"])
    expected = mean(stored(folders["math"]), stored(folders["code"]))
    assert_close(combined(LINEAR, folders, tmp_path), expected, atol=1e-6, rtol=0)


def rotary_table(state: State) -> State:
    return state | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.full((16,), 9.0)}


def test_tables_that_old_files_hold_are_left_out(tmp_path: Path) -> None:
    folders = family("Llama", tmp_path)
    expected = mean(stored(folders["math"]), stored(folders["code"]))
    rewrite(folders["code"], rotary_table)
    assert_close(combined(LINEAR, folders, tmp_path), expected, atol=1e-6, rtol=0)
    run = {"start@1": folders["math"], "start@2": folders["code"]}
    assert_close(combined(AVERAGE, run, tmp_path), expected, atol=1e-6, rtol=0)


def test_a_tied_model_and_one_that_stores_its_head_too_are_merged(tmp_path: Path) -> None:
    """The head is the embedding, whatever the file has, as in mergekit and transformers."""
    folders = family("Llama", tmp_path, tie_word_embeddings=True)
    expected = mean(stored(folders["math"]), stored(folders["code"]))
    rewrite(
        folders["code"],
        lambda s: s | {"lm_head.weight": s["model.embed_tokens.weight"].clone()},
    )
    assert inspect(folders["code"]).signature == inspect(folders["start"]).signature
    assert_close(combined(LINEAR, folders, tmp_path), expected, atol=1e-6, rtol=0)
    run = {"start@1": folders["math"], "start@2": folders["code"]}
    assert_close(combined(AVERAGE, run, tmp_path), expected, atol=1e-6, rtol=0)


def test_a_pythia_with_masks_is_merged_with_one_that_has_none(tmp_path: Path) -> None:
    folders = family("GPTNeoX", tmp_path)
    expected = mean(stored(folders["math"]), stored(folders["code"]))
    masks = {
        "gpt_neox.layers.0.attention.bias": torch.ones(1, 1, 128, 128, dtype=torch.bool),
        "gpt_neox.layers.0.attention.masked_bias": torch.tensor(-1e9),
    }
    rewrite(folders["code"], lambda state: state | masks)
    assert_close(combined(LINEAR, folders, tmp_path), expected, atol=1e-6, rtol=0)


def test_a_merge_of_unlike_models_is_refused_with_the_first_difference(tmp_path: Path) -> None:
    folders = family("Llama", tmp_path)
    folders["code"] = make("Llama", tmp_path / "wide", intermediate_size=128)
    with pytest.raises(HarnessError, match=r"down_proj.weight is \[64, 128\], but \[64, 96\]"):
        combined(LINEAR, folders, tmp_path)
