"""A trained zoo is built once, never partly, and loads in transformers."""

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from melange.baselines.zoo import fit
from melange.baselines.zoo.fit import InFloat32, Job
from melange.baselines.zoo.make import adopt, untouched_parents
from melange.baselines.zoo.progress import Progress
from melange.baselines.zoo.ship import ship
from melange.baselines.zoo.shipped import ShippedZoo
from melange.baselines.zoo.spec import ZooSpec, parse_spec
from melange.baselines.zoo.train import TrainedZoo, open_trained
from melange.baselines.zoo.workers import Workers
from melange.harness.errors import HarnessError

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


def train(spec: ZooSpec, cache: Path, *roles: str) -> TrainedZoo:
    zoo = open_trained(spec, cache=cache)
    zoo.build(roles or zoo.roles, on_progress=lambda progress: None)
    return zoo


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TrainedZoo:
    return train(parse_spec(TINY), tmp_path_factory.mktemp("cache"))


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saves each process's imports; `tiny` is trained in separate processes."""

    def run(workers: Workers, role: str, job: Any, folder: Path, claim: object) -> None:
        done = fit.fit(Job(**job))
        (folder / "fit.json").write_text(json.dumps(done))
        steps = done["steps"]
        workers.on_progress(Progress(role=role, step=steps, steps=steps, loss=done["loss"]))

    monkeypatch.setattr(Workers, "run", run)


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


@pytest.mark.usefixtures("in_this_process")
def test_a_half_written_folder_is_trained_again(tiny: TrainedZoo) -> None:
    (tiny.path("small_mix") / "done.json").unlink()
    (tiny.path("small_mix") / "model.safetensors").write_bytes(b"half")
    heard: list[Progress] = []
    tiny.build(["small_mix"], on_progress=heard.append)
    assert {progress.role for progress in heard} == {"small_mix"}
    assert (tiny.path("small_mix") / "model.safetensors").stat().st_size > 1000


@pytest.mark.usefixtures("in_this_process")
def test_another_seed_gives_other_weights_of_the_same_world(
    tiny: TrainedZoo, tmp_path: Path
) -> None:
    other = train(tiny.spec.with_seed(3), tmp_path, "small_base")
    assert (other.name, other.world_seed) == ("tiny@3", tiny.world_seed)
    assert other.fingerprint("small_base") != tiny.fingerprint("small_base")


class Killed(Exception):
    """Raised instead of killing the process."""


@pytest.mark.parametrize("role", ["small_base", "mixture_base"])
def test_a_training_killed_again_and_again_ends_with_the_same_weights(
    role: str, tiny: TrainedZoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(spec=TINY, role=role, out_dir=str(tmp_path), parent_dir=None, num_threads=1)
    take_step, steps = fit._take_step, []

    def take_step_or_die(course: fit.TrainingState, *batch: Any) -> None:
        if course.step == death:
            raise Killed
        take_step(course, *batch)
        steps.append(course.step)

    monkeypatch.setattr(fit, "STEPS_PER_SAVE", 3)
    monkeypatch.setattr(fit, "_take_step", take_step_or_die)
    for step in (2, 5, 8):
        death = step
        with pytest.raises(Killed):
            fit.fit(job)
    death = -1
    done = fit.fit(job)
    assert steps[:8] == [1, 2, 1, 2, 3, 4, 5, 4]  # from the start, then from the last saved state
    weights = (tmp_path / "model.safetensors").read_bytes()
    assert weights == (tiny.path(role) / "model.safetensors").read_bytes()
    recorded = json.loads((tiny.path(role) / "done.json").read_text())
    assert (done["loss"], done["tokens"]) == (recorded["loss"], recorded["tokens"])


@pytest.mark.usefixtures("in_this_process")
def test_a_child_is_tuned_from_the_shipped_base(tiny: TrainedZoo, tmp_path: Path) -> None:
    shipped = ShippedZoo(tiny.spec, tmp_path / "shipped")
    shipped.root.mkdir()
    ship(tiny, tiny.spec.roles, shipped)
    zoo = open_trained(tiny.spec, cache=tmp_path)
    for parent in untouched_parents(tiny.spec, ["small_mix"]):
        adopt(parent, shipped, zoo)
    assert zoo.untrained(["small_mix"]) == ("small_mix",)
    zoo.build(["small_mix"], on_progress=lambda progress: None)
    assert zoo.fingerprint("small_mix") == tiny.fingerprint("small_mix")


def test_replaced_weights_do_not_pass_as_the_same_checkpoint(
    tiny: TrainedZoo, tmp_path: Path
) -> None:
    shutil.copytree(tiny.cache, tmp_path / "zoo" / "tiny")
    copy = open_trained(tiny.spec, cache=tmp_path)
    assert copy.fingerprint("small_mix") == tiny.fingerprint("small_mix")
    shutil.copyfile(
        tiny.path("small_base") / "model.safetensors", copy.path("small_mix") / "model.safetensors"
    )
    assert copy.fingerprint("small_mix") != tiny.fingerprint("small_mix")


def test_weights_are_stored_rounded_and_tuned_from_what_is_stored(tiny: TrainedZoo) -> None:
    from melange.harness.checkpoints.info import inspect, read_headers

    headers = read_headers(tiny.path("small_mix"))
    assert {header.dtype for header in headers.values()} == {"BF16"}
    info = inspect(tiny.path("small_mix"))
    assert (info.dtype, info.weights_bytes) == ("float32", 4 * info.num_parameters)


def test_a_shipped_zoo_is_the_trained_one(tiny: TrainedZoo, tmp_path: Path) -> None:
    shipped = ShippedZoo(tiny.spec, tmp_path)
    ship(tiny, tiny.spec.roles, shipped)
    for role in tiny.roles:
        assert shipped.fingerprint(role) == tiny.fingerprint(role)
    assert (tmp_path / "small_base@20" / "model.safetensors").is_symlink()
    assert (tmp_path / "small_mix" / "config.json").is_symlink()
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert list(manifest["roles"]) == list(tiny.roles)
    assert manifest["roles"]["small_base"]["training"]["steps"] == 20


def test_one_role_is_shipped_beside_the_others(
    tiny: TrainedZoo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = ShippedZoo(tiny.spec, tmp_path)
    ship(tiny, tiny.spec.roles, shipped)
    before = (tmp_path / "mixture_base" / "model.safetensors").stat().st_ino
    (tmp_path / "role_of_an_earlier_spec").mkdir()
    shutil.copytree(tiny.cache, tmp_path / "again" / "zoo" / "tiny")
    other = open_trained(tiny.spec, cache=tmp_path / "again")
    ship(other, ["small_base"], ShippedZoo(tiny.spec, tmp_path))
    assert (tmp_path / "mixture_base" / "model.safetensors").stat().st_ino == before
    assert ShippedZoo(tiny.spec, tmp_path).build(tiny.roles)
    assert not (tmp_path / "role_of_an_earlier_spec").exists()
    assert "earlier base" not in capsys.readouterr().out  # the same spec, the same weights


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


def test_a_parents_spec_changes_where_its_children_are_cached(
    tiny: TrainedZoo, tmp_path: Path
) -> None:
    base = TINY["roles"]["small_base"] | {"steps": 21}
    changed = TINY | {"roles": TINY["roles"] | {"small_base": base}}
    other = open_trained(parse_spec(changed), cache=tmp_path)
    assert other.path("small_mix").name != tiny.path("small_mix").name
    assert other.path("mixture_base").name == tiny.path("mixture_base").name


def test_an_unknown_role_is_the_users_mistake(tiny: TrainedZoo) -> None:
    with pytest.raises(HarnessError, match="small_bse.*small_base"):
        tiny.path("small_bse")


def test_muon_steps_alike_without_bfloat16() -> None:
    """Without bfloat16 multiplication in hardware, a step of Muon in it takes 20 times as long."""
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
