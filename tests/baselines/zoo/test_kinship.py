"""`compare MODEL MODEL`: relations between models are read from their files."""

from pathlib import Path

import pytest
import yaml
from checkpoint_makers import make_llama
from command_line import run_here

from melange.baselines.zoo.catalog import FOLDER
from melange.baselines.zoo.kinship import parents, role_names

POCKET = FOLDER / "pocket"
LARGE = ("large_knowledge", "large_base", "large_arithmetic")


def pocket(*names: str) -> dict[str, Path]:
    return {name: POCKET / name for name in names}


def test_the_base_is_in_the_middle_of_its_fine_tunes() -> None:
    assert parents(pocket(*LARGE)) == {
        "large_knowledge": "large_base",
        "large_base": "",
        "large_arithmetic": "large_base",
    }
    # With uninformative names.
    models = {str(at): folder for at, folder in enumerate(pocket(*LARGE).values())}
    assert parents(models) == {"0": "1", "1": "", "2": "1"}


def test_of_two_the_name_tells_or_the_user_does() -> None:
    two = pocket("small_mix", "small_base")
    assert parents(two) == {"small_mix": "small_base", "small_base": ""}
    assert parents(two, base="small_mix") == {"small_mix": "", "small_base": "small_mix"}


def test_an_adapter_is_of_the_base_that_it_fits() -> None:
    found = parents(pocket("large_base", "lora_small_mix", "small_base"))
    assert found == {"large_base": "", "lora_small_mix": "small_base", "small_base": ""}


def test_models_that_were_not_trained_from_each_other_are_bases(tmp_path: Path) -> None:
    models = {name: make_llama(tmp_path / name, seed=seed) for seed, name in enumerate("ab")}
    assert parents(models) == {"a": "", "b": ""}


def test_models_are_called_by_their_last_part_unless_two_share_it() -> None:
    assert role_names(["org/a", "/x/b"]) == {"a": "org/a", "b": "/x/b"}
    assert role_names(["/x/a", "/y/a"]) == {"x-a": "/x/a", "y-a": "/y/a"}


def test_compare_plans_what_can_be_made_of_the_models_and_keeps_an_edited_zoo(
    tmp_path: Path,
) -> None:
    command = ("compare", *pocket(*LARGE, "small_base").values(), "--plan", "--out", tmp_path)
    said = run_here(*command)
    assert said.returncode == 0, said.stderr
    assert "large_knowledge: made from large_base\n" in said.stdout
    for name in ("large_knowledge", "ties", "vote-2", "ensemble-logits"):
        assert f"  {name}: " in said.stdout
    file = tmp_path / "zoo.yaml"
    content = yaml.safe_load(file.read_text())
    content["roles"]["large_knowledge"].pop("of")
    file.write_text(yaml.safe_dump(content))
    again = run_here(*command)
    assert f"roles as in {file}" in again.stdout
    assert "  ties: " not in again.stdout


def test_a_mistake_leaves_no_zoo_behind_and_a_named_base_counts(tmp_path: Path) -> None:
    two = pocket("small_mix", "small_base").values()
    wrong = run_here("compare", *two, "--base", "gone", "--plan", "--out", tmp_path)
    assert wrong.returncode == 2
    assert not (tmp_path / "zoo.yaml").exists()
    assert (
        "small_mix: made from small_base"
        in run_here("compare", *two, "--plan", "--out", tmp_path).stdout
    )
    named = run_here("compare", *two, "--base", POCKET / "small_mix", "--plan", "--out", tmp_path)
    assert "small_base: made from small_mix" in named.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([POCKET / "large_base"], "at least two different models"),
        ([POCKET / "large_base", "/no/such/folder"], "no folder /no/such/folder"),
        ([POCKET / "large_base", POCKET / "small_base", "--base", "big"], "base 'big' is unknown"),
        ([POCKET / "large_base", POCKET / "small_base", "--zoo", "pocket"], "leave --zoo out"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, arguments: list[object], says: str) -> None:
    said = run_here("compare", *arguments, "--plan", "--out", tmp_path)
    assert said.returncode == 2
    assert says in said.stderr
    assert said.stderr.count("\n") == 1
