"""The pocket zoo's shipped weights are opened in place, or refused in one line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

from melange.baselines.zoo.catalog import open_zoo
from melange.baselines.zoo.make import check_writable
from melange.baselines.zoo.shipped import ShippedZoo
from melange.baselines.zoo.spec import read_spec
from melange.harness.checkpoints.info import inspect, read_headers
from melange.harness.errors import HarnessError

ZOO = ROOT / "baselines" / "zoo"
MAX_BYTES = 45_000_000
ADAPTERS = {"lora_small_mix"}


@pytest.fixture(scope="module")
def pocket() -> ShippedZoo:
    zoo = open_zoo("pocket")
    assert isinstance(zoo, ShippedZoo)
    return zoo


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copyfile(ZOO / "pocket.yaml", tmp_path / "pocket.yaml")
    shutil.copytree(ZOO / "pocket", tmp_path / "pocket", symlinks=True)
    return tmp_path


def refused(folder: Path, role: str = "large_base") -> str:
    with pytest.raises(HarnessError) as error:
        open_zoo(str(folder / "pocket.yaml")).build([role])
    assert "\n" not in str(error.value)
    return str(error.value)


def edit_manifest(folder: Path, change: Any) -> None:
    path = folder / "pocket" / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_every_role_of_the_spec_is_opened_in_place(pocket: ShippedZoo) -> None:
    folders = pocket.build(pocket.roles)
    assert set(folders) == set(read_spec(ZOO / "pocket.yaml").all_roles)
    assert all(folder.parent.resolve() == ZOO / "pocket" for folder in folders.values())
    assert pocket.wall_seconds(pocket.roles) == 0


def test_weights_are_stored_in_bfloat16_and_computed_in_float32(pocket: ShippedZoo) -> None:
    for role in set(pocket.roles) - ADAPTERS:
        info = inspect(pocket.folder(role))
        assert {one.dtype for one in read_headers(info.path).values()} == {"BF16"}
        assert info.dtype == "float32"
        assert info.weights_bytes <= pocket.weights_bytes(role) <= 1.05 * info.weights_bytes


def test_all_of_it_is_small(pocket: ShippedZoo) -> None:
    files = [path for path in pocket.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) <= MAX_BYTES


def test_the_manifest_says_how_each_role_was_trained(pocket: ShippedZoo) -> None:
    roles = pocket.manifest()["roles"]
    for role in pocket.spec.roles:
        training = roles[role]["training"]
        assert roles[role]["recipe"]["steps"] == training["steps"]
        assert {"torch", "transformers"} <= training["versions"].keys()
        assert training["processor"]
        first, last = training["curve"][0][1], training["curve"][-1][1]
        assert last < first


def test_nothing_in_it_names_the_machine_that_trained_it(pocket: ShippedZoo) -> None:
    texts = [p.read_text() for p in pocket.root.rglob("*") if p.suffix in (".json", ".jinja")]
    assert len(texts) > 20
    assert not [text for text in texts if "/home/" in text or "/root" in text or "/tmp" in text]
    adapter = json.loads((pocket.folder("lora_small_mix") / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == "small_base"


def test_a_weight_file_cut_short_is_named(own: Path) -> None:
    path = own / "pocket" / "large_base" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    message = refused(own)
    assert str(path) in message
    assert "git checkout" in message
    assert "make zoo ROLES=large_base" in message


def test_a_replaced_weight_file_is_named(own: Path) -> None:
    other = own / "pocket" / "large_mix" / "model.safetensors"
    shutil.copyfile(other, own / "pocket" / "large_base" / "model.safetensors")
    assert "is not the file that was shipped" in refused(own)


def test_a_file_replaced_under_an_open_zoos_eyes_is_seen_by_the_next(own: Path) -> None:
    zoo = open_zoo(str(own / "pocket.yaml"))
    before = zoo.fingerprint("large_mix")
    path = own / "pocket" / "large_mix" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert "is not the file" in refused(own, "large_mix")
    assert zoo.fingerprint("large_mix") != before


def test_missing_weights_are_named(own: Path) -> None:
    (own / "pocket" / "large_base@2250" / "model.safetensors").unlink()
    message = refused(own, "large_base@2250")
    assert "no such file" in message
    assert "make zoo ROLES=large_base" in message
    assert open_zoo(str(own / "pocket.yaml")).build(["small_mix"])  # the others are intact


def test_an_archive_without_the_weights_trains_nothing_in_silence(own: Path) -> None:
    shutil.rmtree(own / "pocket")
    message = refused(own)
    assert "manifest.json is missing" in message
    assert "make zoo" in message


def test_a_manifest_that_is_none_is_named(own: Path) -> None:
    (own / "pocket" / "manifest.json").write_text("{")
    assert "is not a zoo manifest" in refused(own)


def test_a_manifest_of_another_spec_is_named(own: Path) -> None:
    text = (own / "pocket.yaml").read_text()
    (own / "pocket.yaml").write_text(text.replace("steps: 4500", "steps: 4875"))
    assert "another spec than pocket.yaml" in refused(own)


def test_a_role_that_the_zoo_lacks_is_named(own: Path) -> None:
    edit_manifest(own, lambda manifest: manifest["roles"].pop("small_mix"))
    message = refused(own, "small_mix")
    assert "has no weights of small_mix" in message
    assert "make zoo ROLES=small_mix" in message


def test_the_command_line_says_it_in_one_line(own: Path) -> None:
    (own / "pocket" / "large_mix" / "model.safetensors").unlink()
    command = [sys.executable, str(ROOT / "run_all.py"), "--zoo", str(own / "pocket.yaml")]
    command += ["--out", str(own / "out"), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=own, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "make zoo ROLES=large_mix" in done.stderr
    assert not (own / "out").exists()


def test_a_checkout_that_cannot_be_written_is_known_before_training() -> None:
    with pytest.raises(HarnessError, match="cannot be written.*SEED=N"):
        check_writable(Path("/proc/zoo"))


def test_make_zoo_says_which_roles_there_are() -> None:
    command = [sys.executable, "-m", "melange.baselines.zoo.make", "--roles", "large_bse"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "large_base" in done.stderr
