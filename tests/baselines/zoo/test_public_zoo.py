"""Public zoos: hub names, local folders, and one line for what is missing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

from melange.baselines.zoo.public import PublicZoo
from melange.harness.checkpoints.checksums import folder_hash
from melange.harness.errors import HarnessError

ZOOS = ROOT / "baselines" / "zoo"
PUBLIC = ("tinyllama", "llama2", "mixtral")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty hub cache, no local models, no token, and no network; returns the hub's folder."""
    names = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "MELANGE_MODELS")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("melange.baselines.zoo.public._logged_in", lambda: False)
    return tmp_path / "hf" / "hub"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A random Llama and a random Mixtral, a few thousand parameters each."""
    transformers = pytest.importorskip("transformers")
    shape: dict[str, Any] = {
        "vocab_size": 32,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 64,
    }
    root = tmp_path_factory.mktemp("models")
    llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape))
    llama.save_pretrained(root / "Llama-2-7b-hf")
    mixtral = transformers.MixtralForCausalLM(
        transformers.MixtralConfig(**shape, num_local_experts=4, num_experts_per_tok=2)
    )
    mixtral.save_pretrained(root / "Mixtral-8x7B-v0.1")
    return {folder.name: folder for folder in root.iterdir()}


def zoo_file(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def cache_checkpoint(hub: Path, repo: str, checkpoint: Path, commit: str = "c0ffee") -> Path:
    """Stores a checkpoint as the hub's client does after a download."""
    home = hub / f"models--{repo.replace('/', '--')}"
    shutil.copytree(checkpoint, home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    return home / "snapshots" / commit


# The zoos that ship with the harness


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_zoo_names_its_roles_licences_and_figures(name: str) -> None:
    zoo = PublicZoo.read(ZOOS / f"{name}.yaml")
    assert (zoo.name, zoo.scale) == (name, "public")
    assert all(zoo.role(role).licence and zoo.role(role).params for role in zoo.roles)
    assert all(0 <= figure.value <= 1 and figure.source for figure in zoo.reference)


def test_tinyllama_has_a_trajectory() -> None:
    steps = [role for role in PublicZoo.read(ZOOS / "tinyllama.yaml").roles if "@" in role]
    assert len(steps) == 6
    assert all(role.startswith("large_base@") for role in steps)


@pytest.mark.parametrize("name", PUBLIC)
def test_offline_each_role_says_in_one_line_what_to_do(name: str, offline: Path) -> None:
    zoo = PublicZoo.read(ZOOS / f"{name}.yaml")
    for role in zoo.roles:
        reason = zoo.missing(role)
        assert role in reason
        assert zoo.role(role).model in reason
        assert "\n" not in reason
        assert zoo.folder(role) is None
        assert zoo.wall_seconds([role]) > 0


def test_a_gated_model_says_where_its_licence_is_accepted(offline: Path) -> None:
    reason = PublicZoo.read(ZOOS / "llama2.yaml").missing("large_base")
    assert "https://huggingface.co/meta-llama/Llama-2-13b-hf" in reason
    assert "hf auth login" in reason


def test_an_open_model_says_how_to_fetch_it(offline: Path) -> None:
    reason = PublicZoo.read(ZOOS / "mixtral.yaml").missing("mixture_base")
    assert "`hf download mistralai/Mixtral-8x7B-v0.1`" in reason


# Locations of checkpoints


@pytest.mark.parametrize(
    ("name", "role", "folder"),
    [
        ("llama2", "small_base", "Llama-2-7b-hf"),
        ("mixtral", "mixture_base", "Mixtral-8x7B-v0.1"),
    ],
)
def test_a_folder_under_melange_models_plays_the_role(
    name: str,
    role: str,
    folder: str,
    offline: Path,
    checkpoints: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MELANGE_MODELS", str(checkpoints[folder].parent))
    zoo = PublicZoo.read(ZOOS / f"{name}.yaml")
    assert zoo.missing(role) == ""
    assert zoo.wall_seconds([role]) == 0
    assert zoo.build([role]) == {role: checkpoints[folder]}


def test_the_hubs_cache_plays_the_role_under_its_commit(
    offline: Path, checkpoints: dict[str, Path]
) -> None:
    snapshot = cache_checkpoint(
        offline, "meta-llama/Llama-2-7b-hf", checkpoints["Llama-2-7b-hf"], commit="c0ffee"
    )
    zoo = PublicZoo.read(ZOOS / "llama2.yaml")
    assert zoo.folder("small_base") == snapshot
    before = zoo.fingerprint("small_base")
    assert before.startswith("meta-llama/Llama-2-7b-hf@c0ffee-")
    weights = snapshot / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert zoo.fingerprint("small_base") != before


def test_half_a_download_does_not_play_a_role(offline: Path, checkpoints: dict[str, Path]) -> None:
    source = checkpoints["Mixtral-8x7B-v0.1"]
    snapshot = cache_checkpoint(offline, "mistralai/Mixtral-8x7B-v0.1", source)
    weights = snapshot / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    zoo = PublicZoo.read(ZOOS / "mixtral.yaml")
    assert zoo.folder("mixture_base") is None
    assert "truncated" in zoo.missing("mixture_base")
    with pytest.raises(HarnessError, match="truncated"):
        zoo.build(["mixture_base"])


def test_the_harness_reads_shapes_of_what_a_zoo_returns(
    offline: Path, checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from melange.harness.checkpoints.info import inspect

    monkeypatch.setenv("MELANGE_MODELS", str(checkpoints["Mixtral-8x7B-v0.1"].parent))
    folder = PublicZoo.read(ZOOS / "mixtral.yaml").build(["mixture_base"])["mixture_base"]
    info = inspect(folder)
    assert info.architecture == "MixtralForCausalLM"
    assert info.num_active_parameters < info.num_parameters


# Fingerprints


def test_a_copy_has_the_fingerprint_of_its_original(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    original = checkpoints["Llama-2-7b-hf"]
    shutil.copytree(original, tmp_path / "copy")
    assert folder_hash(tmp_path / "copy") == folder_hash(original)


def test_other_weights_of_the_same_shape_have_another_fingerprint(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(checkpoints["Llama-2-7b-hf"], tmp_path / "tuned")
    weights = tmp_path / "tuned" / "model.safetensors"
    save_file({name: value * 1.01 for name, value in load_file(weights).items()}, weights)
    before, after = (
        folder_hash(checkpoints["Llama-2-7b-hf"]),
        folder_hash(tmp_path / "tuned"),
    )
    assert before != after


# User zoos


def test_roles_are_given_as_folders_relative_to_the_file(
    offline: Path, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(checkpoints["Llama-2-7b-hf"], tmp_path / "steps" / "2000")
    zoo = PublicZoo.read(
        zoo_file(
            tmp_path,
            "kind: public\nroles:\n"
            f"  large_base: {checkpoints['Llama-2-7b-hf']}\n"
            "  large_base@2000: steps/2000\n",
        )
    )
    assert zoo.name == "mine"
    assert zoo.roles == ("large_base", "large_base@2000")
    assert zoo.build(zoo.roles)["large_base@2000"] == tmp_path / "steps" / "2000"
    assert zoo.fingerprint("large_base") == zoo.fingerprint("large_base@2000")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("kind: public\n", "key 'roles' is missing"),
        (
            "kind: trained\nroles: {large_base: ./llama}\n",
            "kind='trained': input should be",
        ),
        (
            "kind: public\nrole: {large_base: ./llama}\n",
            "key 'role' is unknown; did you mean",
        ),
        ("kind: public\nroles: {}\n", "roles={}: dictionary should have at least 1 item"),
        ("kind: public\nroles: {large_base: ./lama}\n", "roles.large_base: no folder"),
        ("kind: public\nroles: {large_base: ./lama}\n", "did you mean llama?"),
        ("kind: public\nroles: {large_base: {modle: ./llama}}\n", "did you mean model?"),
        ("kind: public\nroles: {large_base: {model: ./llama, params: many}}\n", "params='many'"),
        ("kind: public\nroles: {large_base: [a, b]}\n", "roles.large_base: must hold"),
        ("kind: public\nroles: {large base: ./llama}\n", "no name of a role; use letters"),
        ("kind: public\nroles: {large_base@last: ./llama}\n", "large_base@1500"),
    ],
)
def test_a_bad_zoo_file_is_one_line_with_the_next_step(
    tmp_path: Path, text: str, complaint: str
) -> None:
    (tmp_path / "llama").mkdir()
    with pytest.raises(HarnessError) as caught:
        PublicZoo.read(zoo_file(tmp_path, text))
    assert complaint in str(caught.value)
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_role_brings_the_nearest_names() -> None:
    with pytest.raises(HarnessError, match="role of zoo llama2 'small_bass' .* small_base"):
        PublicZoo.read(ZOOS / "llama2.yaml").folder("small_bass")


def test_reading_a_zoo_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from melange.baselines.zoo.public import PublicZoo;"
    )
    program += f"PublicZoo.read(Path({str(ZOOS / 'llama2.yaml')!r}));"
    program += "import json; print(json.dumps([m for m in ('torch', 'huggingface_hub') "
    program += "if m in sys.modules]))"
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert json.loads(ended.stdout) == [], ended.stderr
