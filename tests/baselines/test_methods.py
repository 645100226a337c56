"""Methods are discovered, and a suite's entries expand to named candidates."""

import subprocess
import sys

import pytest
import yaml
from method_zoo import ROLES, TUNED, WHERE, one
from zoo_of_folders import candidates_of

from melange.baselines.catalog import methods
from melange.baselines.merging.mergekit import RECIPES
from melange.harness.errors import HarnessError
from melange.harness.recipes.logit_mix import LogitMix
from melange.harness.records import Record

RECIPE_NAMES = sorted(file.stem for file in RECIPES.glob("*.yaml"))


@pytest.mark.parametrize(
    "name",
    [
        "checkpoint",
        "swa",
        "ema",
        "lawa",
        "mergekit",
        "moe",
        "proxy",
        "contrastive",
        "ensemble",
        "adapter",
    ],
)
def test_a_method_obeys_its_contract(name):
    method = methods()[name]
    assert method.name == name
    assert method.family in {"single", "averaging", "merging", "moe", "proxy", "ensemble"}
    assert issubclass(method.options, Record)
    assert callable(method.candidates)


def test_planning_imports_nothing_heavy():
    code = (
        "import sys; import melange.harness.checkpoints.built;"
        "from melange.baselines.catalog import expand, methods;"
        "from melange.harness.roles import Roles;"
        f"expand([{{'mergekit': '*'}}, {{'method': 'swa'}}], Roles([]), where={WHERE!r});"
        "print(*{'torch', 'transformers', 'mergekit', 'vllm', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ({"method": "checkpoint", "roles": "small_base"}, ["small_base"]),
        (
            {"method": "checkpoint", "roles": ["large_*"], "except": ["*@*", "large_base"]},
            list(TUNED),
        ),
        ({"mergekit": "ties"}, ["ties"]),
        ({"method": "mergekit", "config": "ties.yaml", "name": "t"}, ["t"]),
        ({"mergekit": "dare-*"}, ["dare-linear", "dare-ties"]),
        ({"mergekit": "*"}, RECIPE_NAMES),
        ({"method": "swa"}, ["swa-large_base-s0.5"]),
        ({"method": "swa", "name": "swa"}, ["swa"]),
        ({"method": "ema", "decay": [0.5, 0.9]}, ["ema-large_base-b0.5", "ema-large_base-b0.9"]),
        ({"method": "lawa", "k": 2, "at": 200}, ["lawa-large_base@200-k2"]),
    ],
)
def test_an_entry_names_its_candidates(entry, names):
    assert [candidate.name for candidate in candidates_of([entry], ROLES, where=WHERE)] == names


def test_proxy_entries_multiply_experts_and_alphas():
    entry = {"method": "proxy", "base": "large_base", "antiexpert": "small_base"}
    many = candidates_of(
        [entry | {"experts": ["small_mix", "small_code"], "alpha": [0.5, 1]}], ROLES, where=WHERE
    )
    labels = ("mix", "small_code")
    assert [one.name for one in many] == [f"proxy-{of}-a{a}" for of in labels for a in (0.5, 1.0)]
    recipe = many[0].recipe
    assert isinstance(recipe, LogitMix)
    assert recipe.inputs == ("large_base", "small_mix", "small_base")
    assert one(entry | {"expert": "small_mix", "name": "mine"}).name == "mine"


def test_experts_that_share_an_antiexpert_run_it_once():
    pairs = [
        {"expert": "small_mix", "antiexpert": "small_base", "alpha": 0.5},
        {"expert": "small_code", "antiexpert": "small_base", "alpha": 2},
    ]
    recipe = one({"method": "proxy", "base": "large_base", "pairs": pairs}).recipe
    assert isinstance(recipe, LogitMix)
    assert recipe.inputs == ("large_base", "small_mix", "small_base", "small_code")
    assert recipe.coefficients == (1, 0.5, -2.5, 2)


def test_contrastive_decoding_is_dexperts_with_the_base_as_expert():
    recipe = one(
        {"method": "contrastive", "expert": "large_base", "amateur": "small_base", "alpha": 0.5}
    ).recipe
    assert isinstance(recipe, LogitMix)
    assert recipe.coefficients == (1.5, -0.5)


def test_mixtures_of_the_zoo_belong_to_the_moe_family():
    assert one({"method": "checkpoint", "roles": "mixture_*"}).family == "moe"


def test_a_role_that_the_zoo_lacks_still_makes_a_candidate():
    assert one({"method": "checkpoint", "roles": "huge_base"}).recipe.inputs == ("huge_base",)
    entry = {"mergekit": "ties", "base": "large_base", "models": TUNED}
    (candidate,) = candidates_of([entry], [], where=WHERE)
    assert candidate.recipe.inputs == ("large_base", *TUNED)


def test_too_short_a_run_is_never_averaged_under_a_longer_ones_name():
    recipe = one({"method": "lawa", "run": "large_base", "k": 5, "at": 300}).recipe
    assert recipe.inputs == ("large_base@*", *(f"large_base@{step}" for step in (100, 200, 300)))
    (alone,) = candidates_of([{"method": "swa", "run": "huge"}], ["huge"], where=WHERE)
    assert alone.recipe.inputs == ("huge@*",)


@pytest.mark.parametrize(
    ("entry", "inputs"),
    [
        ({"method": "swa", "start": 0.5}, ["@200", "@300"]),
        ({"method": "lawa", "k": 2}, ["@200", "@300"]),
        ({"method": "lawa", "k": 2, "add_end": True}, ["@300", ""]),
        ({"method": "ema", "at": 200}, ["@100", "@200"]),
    ],
)
def test_averages_choose_checkpoints_in_order_of_training(entry, inputs):
    roles = tuple(reversed(ROLES))
    (candidate,) = candidates_of([entry], roles, where=WHERE)
    assert candidate.recipe.inputs == tuple(f"large_base{suffix}" for suffix in inputs)


TWO_EXPERTS = [{"role": "large_knowledge"}, {"role": "large_arithmetic"}]


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"method": "swaa"}, "'swaa' is unknown; did you mean swa"),
        ({"roles": "x"}, "names no method"),
        ({"method": "swa", "strat": 0.5}, "option 'strat' is unknown; did you mean start"),
        ({"method": "swa", "start": 1.5}, "start.0=1.5"),
        ({"mergekit": {}}, "config"),
        ({"method": "checkpoint", "role": "x"}, "option 'role' is unknown; did you mean roles"),
        ({"mergekit": "no-such"}, "no such recipe"),
        ({"method": "proxy", "expert": "a"}, "need base: ROLE"),
        ({"method": "proxy", "base": "b", "expert": "e"}, "needs its antiexpert"),
        ({"method": "ensemble", "models": ["a"]}, "at least 2"),
        (
            {"method": "proxy", "base": "b", "antiexpert": "a", "expert": "e", "alpha": ".inf"},
            "alpha",
        ),
        ({"method": "moe", "base": "b", "experts": TWO_EXPERTS}, "needs prompts for large_know"),
        ({"method": "moe", "base": "b", "experts": [{"rol": "x"}] * 2}, "experts.0.role"),
        (
            {
                "method": "moe",
                "base": "b",
                "experts": TWO_EXPERTS,
                "experts_per_token": 3,
                "gate_mode": "random",
            },
            "experts_per_token=3 of 2 experts",
        ),
    ],
)
def test_a_wrong_entry_is_told_in_one_line(entry, says):
    with pytest.raises(HarnessError) as error:
        candidates_of([{"method": "swa"}, entry], ROLES, where=WHERE)
    message = str(error.value)
    assert message.startswith(f"{WHERE}: candidates[1]")
    assert says in message
    assert "\n" not in message


def test_two_candidates_with_one_name_are_refused():
    with pytest.raises(HarnessError, match="there is already a candidate 'ties'"):
        candidates_of([{"mergekit": "ties"}, {"mergekit": "t*"}], ROLES, where=WHERE)


def test_a_recipe_beside_the_suite_is_a_candidate_without_code(tmp_path):
    (tmp_path / "mine").mkdir()
    recipe = {"merge_method": "linear", "models": [{"model": "/a/b"}, {"model": "large_base@100"}]}
    text = "# Half and half\n" + yaml.safe_dump(recipe)
    (tmp_path / "mine" / "half.yaml").write_text(text)
    where = str(tmp_path / "suite.yaml")
    (candidate,) = candidates_of([{"mergekit": "mine/*.yaml"}], ROLES, where=where)
    assert (candidate.name, candidate.summary) == ("half", "Half and half")
    assert candidate.recipe.inputs == ("/a/b", "large_base@100")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "is not YAML"),
        ("a: 1", "is not a mergekit recipe"),
        ("{merge_method: linear, models: []}", "names no models"),
    ],
)
def test_a_file_that_is_no_recipe_is_told_in_one_line(tmp_path, text, says):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(HarnessError, match=says) as error:
        candidates_of([{"mergekit": "bad.yaml"}], ROLES, where=str(tmp_path / "suite.yaml"))
    assert "\n" not in str(error.value)
