"""Zoo files: their contents, what they take from other zoos, and their use in a plan."""

import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

from melange.baselines.zoo.catalog import open_zoo
from melange.baselines.zoo.spec import read_spec
from melange.baselines.zoo.train import open_trained
from melange.harness.errors import HarnessError


def test_a_zoo_file_takes_what_it_does_not_say_from_another(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("kind: trained\nlike: pocket\nworld_seed: 7\n")
    zoo, pocket = open_zoo(str(tmp_path / "mine.yaml")), open_zoo("pocket")
    assert (zoo.name, zoo.world_seed, zoo.roles) == ("mine", 7, pocket.roles)
    assert zoo.wall_seconds(zoo.roles) > 0
    assert zoo.folder("small_base") is None


def test_a_seed_is_part_of_a_trained_zoos_name() -> None:
    assert open_zoo("pocket@3").name == "pocket@3"
    with pytest.raises(HarnessError, match="llama2 is not trained here"):
        open_zoo("llama2@3")
    with pytest.raises(HarnessError, match="pocket"):
        open_zoo("poket@3")


def test_the_shipped_spec_names_the_roles_that_suites_rely_on(tmp_path: Path) -> None:
    zoo = open_trained(read_spec(ROOT / "baselines" / "zoo" / "pocket.yaml"), cache=tmp_path)
    domains = ("base", "knowledge", "arithmetic", "instructions", "mix")
    assert {f"{size}_{domain}" for size in ("small", "large") for domain in domains} <= set(
        zoo.roles
    )
    assert len(zoo.spec.trajectory("large_base")) >= 6
    assert zoo.untrained(["small_mix"]) == ("small_base", "small_mix")
    assert zoo.wall_seconds(zoo.roles) >= zoo.seconds("large_base")


def test_planning_imports_no_torch() -> None:
    code = (
        "import sys; from melange.baselines.zoo.catalog import open_zoo\n"
        "for name in ('pocket', 'pocket@1'):\n"
        "    zoo = open_zoo(name)\n"
        "    [(zoo.fingerprint(r), zoo.folder(r), zoo.weights_bytes(r)) for r in zoo.roles]\n"
        "assert not {'torch', 'transformers', 'tokenizers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_missing_spec_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="cannot be read"):
        open_zoo(str(tmp_path / "nowhere.yaml"))
