"""Methods select roles by their relations; names are up to the user."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkpoint_makers import make_llama
from command_line import run_here
from places import DATA
from zoo_of_folders import related

from melange.baselines.catalog import expand
from melange.baselines.zoo.catalog import open_zoo
from melange.commands.study import with_reference
from melange.harness.errors import HarnessError
from melange.harness.roles import Role, Roles, groups
from melange.harness.suite import find_suite, read_suite

RECIPES = DATA / "jan2024-recipes.json"
JAN2024 = find_suite("jan2024")
THREE = ("large_knowledge", "large_arithmetic", "large_instructions")


def names(entry: Mapping[str, Any], roles: Iterable[Role]) -> list[str]:
    found = expand([entry], Roles(roles), where=str(JAN2024))
    return [one.name for one in found.candidates]


def lacks(entry: Mapping[str, Any], roles: Iterable[Role]) -> tuple[str, ...]:
    return expand([entry], Roles(roles), where=str(JAN2024)).lacks


def test_jan2024_names_no_model_and_means_the_same_recipes_on_the_pocket_zoo() -> None:
    pocket = open_zoo("pocket")
    assert not any(role in JAN2024.read_text() for role in pocket.roles)
    roles = Roles(pocket.related())
    found = expand(read_suite(JAN2024).candidates, roles, where=str(JAN2024))
    recipes = {one.name: one.recipe.model_dump(mode="json") for one in found.candidates}
    stored = json.loads(RECIPES.read_text())
    assert list(recipes) == list(stored)
    assert recipes == stored
    assert found.lacks == ()


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, four fine-tunes, a smaller base and its fine-tune, with arbitrary names."""
    root = tmp_path_factory.mktemp("zoo")
    sheep = make_llama(root / "sheep", seed=0, num_attention_heads=2)
    lamb = make_llama(root / "lamb", seed=1, num_hidden_layers=1, num_attention_heads=2)
    for seed, name in enumerate(("Merino-v2", "suffolk", "jacob", "texel"), start=2):
        make_llama(root / name, seed=seed, near=sheep)
    make_llama(root / "lamb.wool", seed=9, near=lamb)
    roles: dict[str, Any] = {
        "sheep": "sheep",
        "Merino-v2": {"model": "Merino-v2", "of": "sheep", "domains": "wool"},
        "suffolk": {"model": "suffolk", "of": "sheep", "domains": ["meat"]},
        "jacob": {"model": "jacob", "of": "sheep"},
        "texel": {"model": "texel", "of": "sheep", "domains": ["meat", "wool"]},
        "lamb": "lamb",
        "lamb.wool": {"model": "lamb.wool", "of": "lamb", "domains": "wool"},
    }
    (root / "farm.yaml").write_text(yaml.safe_dump({"roles": roles}))
    return root / "farm.yaml"


def test_every_family_that_a_zoo_has_roles_for_has_candidates_under_any_names(zoo: Path) -> None:
    said = run_here("--suite", "jan2024", "--zoo", zoo, "--plan")
    assert said.returncode == 0, said.stderr
    for name in ("ties", "slerp", "moe-random", "ensemble-logits", "vote-3", "blend-3",
                 "proxy-wool-a1.0", "contrastive-texel-a0.5", "self-consistency"):  # fmt: skip
        assert f"  {name}: " in said.stdout
    assert "\n  averaging: no run with 2 checkpoints; no run with 5 checkpoints\n" in said.stdout
    # A single expert can neither be combined with another nor be skipped.
    assert "\n  proxy-wool: " not in said.stdout


def test_a_steered_candidates_goal_is_the_bases_own_fine_tune_for_the_same(zoo: Path) -> None:
    roles = Roles(open_zoo(str(zoo)).related())
    found = expand([{"method": "proxy"}], roles, where="s.yaml").candidates
    assert [(one.name, one.goal) for one in found] == [("proxy-wool-a1.0", "Merino-v2")]


def test_speeds_refer_to_the_largest_base(zoo: Path) -> None:
    roles = Roles(open_zoo(str(zoo)).related())
    suite = read_suite(JAN2024)
    found = expand(suite.candidates, roles, where=str(JAN2024))
    assert with_reference(suite, found.candidates, roles, found.lacks).reference == "sheep"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"mergekit": "ties"}, ["ties"]),
        ({"mergekit": "ties", "groups": "leave_one_out"},
         ["ties-without-instructions", "ties-without-arithmetic", "ties-without-knowledge"]),
        ({"mergekit": "slerp", "groups": "pair"},
         ["slerp-knowledge+arithmetic", "slerp-knowledge+instructions",
          "slerp-arithmetic+instructions"]),
        ({"mergekit": "ties", "domains": ["knowledge", "arithmetic"]}, ["ties"]),
        ({"method": "vote", "models": THREE, "groups": "pair"},
         ["vote-2-knowledge+arithmetic", "vote-2-knowledge+instructions",
          "vote-2-arithmetic+instructions"]),
        ({"mergekit": "soup-linear", "models": ["large_mix", "large_base"]}, ["soup-linear"]),
        ({"method": "vote", "models": "tuned", "base": "largest"}, ["vote-4"]),
        ({"method": "checkpoint", "kinds": "base"}, ["small_base", "large_base"]),
        ({"method": "proxy", "experts": "specialists"}, ["proxy-code-a1.0"]),
        ({"method": "proxy", "take": 1}, ["proxy-mix-a1.0"]),
        ({"method": "proxy", "together": True}, ["proxy-mix+code"]),
    ],
)  # fmt: skip
def test_suites_narrow_and_divide_what_is_selected(
    entry: Mapping[str, Any], expected: list[str]
) -> None:
    roles = ("large_base", *THREE, "large_mix", "small_base", "small_mix", "small_code")
    assert names(entry, related(roles)) == expected


@pytest.mark.parametrize(
    "entry",
    [
        {"mergekit": "slerp", "models": "large_mix"},
        {"mergekit": "ties", "groups": "each"},
        {"method": "ensemble", "models": ["large_mix"]},
        {"method": "vote", "models": ["large_mix", "large_knowledge"], "groups": "leave_one_out"},
    ],
)
def test_too_few_models_are_told_in_one_line(entry: Mapping[str, Any]) -> None:
    with pytest.raises(HarnessError, match=r"models: names|groups: each"):
        names(entry, related(("large_base", *THREE, "large_mix")))


def test_groups_of_two_bases_are_told_apart_by_the_base() -> None:
    roles = ("large_base", *THREE, "small_base", "small_mix", "small_code", "small_art")
    assert names({"mergekit": "ties"}, related(roles)) == ["ties-large_base", "ties-small_base"]
    assert names({"mergekit": "ties", "base": "small*"}, related(roles)) == ["ties"]
    assert names({"mergekit": "ties", "base": "largest"}, related(roles)) == ["ties"]


def test_a_template_repeats_what_it_says_of_each_model() -> None:
    found = expand(
        [{"mergekit": "dare-linear"}], Roles(related(("large_base", *THREE))), where="s.yaml"
    )
    config = found.candidates[0].recipe.model_dump()["options"]["config"]
    assert config["base_model"] == "large_base"
    assert [one["model"] for one in config["models"]] == list(THREE)
    assert all(one["parameters"] == {"weight": 0.4, "density": 0.5} for one in config["models"])


def test_steps_under_any_names_are_a_run() -> None:
    steps = [Role(name=f"dawn-{i}", kind="step", of="day", step=100 * i) for i in (3, 1, 2)]
    found = expand([{"method": "lawa", "k": 2}], Roles(steps), where="s.yaml").candidates
    assert [(one.name, one.recipe.inputs) for one in found] == [
        ("lawa-day-k2", ("dawn-2", "dawn-3"))
    ]


@pytest.mark.parametrize(
    ("roles", "problem"),
    [
        ([Role(name="tuned", kind="finetune", of="gone")],
         "tuned: a finetune of gone, which the zoo lacks"),
        ([Role(name="a"), Role(name="b"), Role(name="tuned", kind="finetune", of=("a", "b"))],
         "tuned: a finetune of a and b; it can be of one"),
        ([Role(name="a", kind="finetune", of="b"), Role(name="b", kind="finetune", of="a")],
         "a: is made from itself (a of b of a)"),
    ],
)  # fmt: skip
def test_a_relation_that_cannot_be_is_a_line_and_the_rest_is_there(
    roles: list[Role], problem: str
) -> None:
    found = Roles([Role(name="whole"), *roles])
    assert problem in found.problems
    assert names({"method": "checkpoint"}, found) == [one.name for one in found]


def test_a_zoo_file_with_a_wrong_relation_is_planned_all_the_same(zoo: Path) -> None:
    content = yaml.safe_load(zoo.read_text())
    content["roles"]["jacob"]["of"] = ["sheep", "lamb"]
    file = zoo.with_name("muddled.yaml")
    file.write_text(yaml.safe_dump(content))
    said = run_here("--suite", "jan2024", "--zoo", file, "--plan")
    assert said.returncode == 0, said.stderr
    assert "  jacob: a finetune of sheep and lamb; it can be of one\n" in said.stdout
    assert "  ties: " in said.stdout


def test_what_a_zoo_lacks_is_a_line_a_family() -> None:
    found = expand(read_suite(JAN2024).candidates, Roles([Role(name="only")]), where=str(JAN2024))
    assert [one.name for one in found.candidates] == ["only"]
    families = [line.partition(":")[0] for line in found.lacks]
    assert families == ["averaging", "merging", "moe", "proxy", "ensemble"]


def test_every_pair_and_all_but_one() -> None:
    three = [Role(name=name) for name in "abc"]
    assert [len(chosen) for chosen in groups(three, "pair")] == [2, 2, 2]
    assert ["".join(one.name for one in chosen) for chosen in groups(three, "leave_one_out")] == [
        "ab",
        "ac",
        "bc",
    ]
