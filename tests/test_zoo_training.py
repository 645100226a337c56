"""A trained zoo: built once, never half, loadable by transformers."""

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from baselines.zoo.fit import InFloat32
from baselines.zoo.progress import Progress
from baselines.zoo.train import TrainedZoo, open_zoo
from harness.errors import HarnessError

RECIPES = Path(__file__).resolve().parents[1] / "baselines" / "zoo"
TINY: dict[str, Any] = {
    "name": "tiny",
    "kind": "trained",
    "scale": "pocket",
    "seed": 0,
    "world_seed": 0,
    "batch_tokens": 256,
    "row_tokens": [64, 128],
    "sizes": {
        "small": {"width": 32, "layers": 1, "heads": 1, "kv_heads": 1, "ffn": 32},
        "mixture": {
            "width": 32,
            "layers": 1,
            "heads": 1,
            "kv_heads": 1,
            "ffn": 32,
            "num_experts": 4,
            "experts_per_token": 2,
        },
    },
    "roles": {
        "small_base": {
            "size": "small",
            "data": "base",
            "steps": 20,
            "peak_learning_rate": 0.003,
            "seconds": 1,
            "trajectory_every": 10,
        },
        "small_mix": {
            "size": "small",
            "data": "mix",
            "steps": 10,
            "peak_learning_rate": 0.001,
            "seconds": 1,
            "parent": "small_base",
        },
        "mixture_base": {
            "size": "mixture",
            "data": "base",
            "steps": 10,
            "peak_learning_rate": 0.003,
            "seconds": 1,
        },
    },
}


def write_recipe(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TrainedZoo:
    folder = tmp_path_factory.mktemp("zoo")
    zoo = open_zoo(write_recipe(folder, TINY), cache=folder / "cache")
    zoo.build(zoo.roles, on_progress=lambda progress: None)
    return zoo


def test_every_role_is_there_once_built(tiny: TrainedZoo) -> None:
    assert set(tiny.roles) == {
        "small_base",
        "small_base@10",
        "small_base@20",
        "small_mix",
        "mixture_base",
    }
    assert all(
        tiny.ready(role) and (tiny.path(role) / "config.json").is_file() for role in tiny.roles
    )


def test_what_is_built_is_not_built_again(tiny: TrainedZoo) -> None:
    heard: list[Progress] = []
    tiny.build(tiny.roles, on_progress=heard.append)
    assert not heard
    assert tiny.wall_seconds(tiny.roles) == 0.0


def test_a_half_written_folder_is_trained_again(tiny: TrainedZoo) -> None:
    (tiny.path("small_mix") / "done.json").unlink()
    (tiny.path("small_mix") / "model.safetensors").write_bytes(b"half")
    heard: list[Progress] = []
    tiny.build(["small_mix"], on_progress=heard.append)
    assert {progress.role for progress in heard} == {"small_mix"}
    assert (tiny.path("small_mix") / "model.safetensors").stat().st_size > 1000


def test_the_same_recipe_gives_the_same_weights(tiny: TrainedZoo, tmp_path: Path) -> None:
    again = open_zoo(tiny.recipe_path, cache=tmp_path)
    again.build(["small_base"], on_progress=lambda progress: None)
    first, second = (zoo.path("small_base") / "model.safetensors" for zoo in (tiny, again))
    assert first.read_bytes() == second.read_bytes()


def test_the_record_of_a_build_says_what_it_took(tiny: TrainedZoo) -> None:
    done = json.loads((tiny.path("small_base") / "done.json").read_text())
    assert done["fingerprint"] == tiny.fingerprint("small_base")
    assert (done["steps"], done["tokens"]) == (20, 20 * 256)
    assert done["precision"] in ("bfloat16", "float32")
    assert done["build_sec"] > 0
    assert done["loss"] > 0


@pytest.mark.parametrize("role", ["small_base", "mixture_base"])
def test_parameters_are_counted_before_they_exist(tiny: TrainedZoo, role: str) -> None:
    done = json.loads((tiny.path(role) / "done.json").read_text())
    assert done["params"] <= tiny.params(role) <= 1.05 * done["params"]


@pytest.mark.parametrize("role", ["small_base", "small_base@10", "small_mix", "mixture_base"])
def test_transformers_loads_and_generates(tiny: TrainedZoo, role: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny.path(role))
    tokenizer = AutoTokenizer.from_pretrained(tiny.path(role))
    inputs = tokenizer("question: what", return_tensors="pt")
    output = model.generate(inputs.input_ids, max_new_tokens=3, do_sample=False)
    assert output.shape[1] > inputs.input_ids.shape[1]
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


def test_a_mixture_has_the_names_that_vllm_loads(tiny: TrainedZoo) -> None:
    from safetensors import safe_open

    with safe_open(tiny.path("mixture_base") / "model.safetensors", "pt") as weights:
        names = set(weights.keys())
    assert "model.layers.0.block_sparse_moe.gate.weight" in names
    for matrix in ("w1", "w2", "w3"):
        assert f"model.layers.0.block_sparse_moe.experts.3.{matrix}.weight" in names


def test_a_parents_recipe_changes_its_childrens_fingerprints(
    tiny: TrainedZoo, tmp_path: Path
) -> None:
    base = TINY["roles"]["small_base"] | {"steps": 21}
    changed = TINY | {"roles": TINY["roles"] | {"small_base": base}}
    other = open_zoo(write_recipe(tmp_path, changed), cache=tmp_path)
    assert other.fingerprint("small_mix") != tiny.fingerprint("small_mix")
    assert other.fingerprint("mixture_base") == tiny.fingerprint("mixture_base")


@pytest.mark.parametrize("name", ["pocket", "pocket-mini"])
def test_shipped_recipes_name_the_roles_that_suites_rely_on(name: str, tmp_path: Path) -> None:
    zoo = open_zoo(RECIPES / f"{name}.yaml", cache=tmp_path)
    domains = ("base", "knowledge", "arithmetic", "instructions", "mix")
    assert {f"{size}_{domain}" for size in ("small", "large") for domain in domains} <= set(
        zoo.roles
    )
    assert len(zoo.recipe.trajectory("large_base")) >= 6
    assert zoo.untrained(["small_mix"]) == ("small_base", "small_mix")
    assert zoo.wall_seconds(zoo.roles) >= zoo.seconds("large_base")


def test_planning_imports_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from baselines.zoo.train import open_zoo\n"
        f"zoo = open_zoo(Path({str(RECIPES / 'pocket.yaml')!r}))\n"
        "[(zoo.fingerprint(r), zoo.path(r), zoo.ready(r), zoo.seconds(r)) for r in zoo.roles]\n"
        "assert not {'torch', 'transformers', 'tokenizers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=RECIPES.parents[1])


def test_an_unknown_role_is_the_users_mistake(tiny: TrainedZoo) -> None:
    with pytest.raises(HarnessError, match="small_bse.*small_base"):
        tiny.path("small_bse")


def test_a_missing_recipe_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="does not exist"):
        open_zoo(tmp_path / "nowhere.yaml")


def test_muon_steps_alike_without_bfloat16() -> None:
    """Processors that do not multiply in it take 20 times as long for a step of Muon in it."""
    start = torch.randn(24, 40, generator=torch.Generator().manual_seed(0))
    moves = []
    for precision in (nullcontext(), InFloat32()):
        weight = torch.nn.Parameter(start.clone())
        weight.grad = start.sin()
        with precision:
            torch.optim.Muon([weight], lr=0.1).step()
        assert torch.equal(weight.grad, start.sin())
        moves.append(weight.detach() - start)
    apart = (moves[0] - moves[1]).norm() / moves[0].norm()
    assert 1e-6 < apart < 0.03
