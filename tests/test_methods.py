"""Claims about the methods of baselines/ and the artifacts that they build."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from checkpoint_makers import make_llama
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, AutoTokenizer
from zoo_of_folders import candidates_of, made

from melange.baselines.catalog import methods
from melange.baselines.merging.mergekit import RECIPES
from melange.baselines.moe.router import hidden_router
from melange.harness.checkpoints.arithmetic import exponential_average, uniform_average
from melange.harness.checkpoints.built import artifact_name, build_seconds
from melange.harness.checkpoints.checksums import folder_hash
from melange.harness.checkpoints.info import inspect
from melange.harness.checkpoints.tensors import read_tensors
from melange.harness.engines.logit_arithmetic import proxy_tune_logits
from melange.harness.errors import HarnessError
from melange.harness.recipes.logit_mix import LogitMix
from melange.harness.records import Candidate, Record

RECIPE_NAMES = sorted(file.stem for file in RECIPES.glob("*.yaml"))
ROLES = (
    "small_base",
    "small_mix",
    "large_base",
    "large_base@100",
    "large_base@200",
    "large_base@300",
    "large_knowledge",
    "large_arithmetic",
    "large_instructions",
    "mixture_native",
)
TUNED = ("large_knowledge", "large_arithmetic", "large_instructions")
WHERE = "tasks/suites/test.yaml"

numbers = st.floats(-8, 8, width=32)
rows = st.lists(st.lists(numbers, min_size=5, max_size=5), min_size=2, max_size=2).map(torch.tensor)
states = st.lists(rows.map(lambda tensor: {"w": tensor}), min_size=1, max_size=6)


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("zoo")
    base = make_llama(root / "large_base", seed=0)
    tuned = [role for role in ROLES if role.startswith("large_") and role != "large_base"]
    return {"large_base": base} | {
        role: make_llama(root / role, seed=seed, near=base) for seed, role in enumerate(tuned, 1)
    }


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MELANGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def one(entry: Mapping[str, Any]) -> Candidate:
    (candidate,) = candidates_of([entry], ROLES, where=WHERE)
    return candidate


def built(entry: Mapping[str, Any], zoo: Mapping[str, Path], **replaced: Path) -> Path:
    folders = {**zoo, **replaced}
    return made(one(entry), folders, {role: str(path) for role, path in folders.items()})


def weights(path: Path) -> dict[str, Tensor]:
    return read_tensors(path, inspect(path).shapes)


def logits(path: Path) -> Tensor:
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    with torch.inference_mode():
        return model(torch.arange(20).reshape(2, 10)).logits


def copies(path: Path, out: Path, roles: tuple[str, ...]) -> dict[str, Path]:
    """The same checkpoint under several roles, each in a folder of its own."""
    folders = {}
    for role in roles:
        folders[role] = out / role
        folders[role].mkdir(parents=True)
        for file in path.iterdir():
            (folders[role] / file.name).write_bytes(file.read_bytes())
    return folders


# Discovery and entries


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
    with pytest.raises(HarnessError, match="'ties' is there already"):
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
        ("a: [", "is no YAML"),
        ("a: 1", "is no mergekit recipe"),
        ("{merge_method: linear, models: []}", "names no models"),
    ],
)
def test_a_file_that_is_no_recipe_is_told_in_one_line(tmp_path, text, says):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(HarnessError, match=says) as error:
        candidates_of([{"mergekit": "bad.yaml"}], ROLES, where=str(tmp_path / "suite.yaml"))
    assert "\n" not in str(error.value)


# Proxy-tuning


@given(base_BV=rows, tuned_BV=rows, alpha=numbers)
def test_equal_experts_leave_the_base_unchanged(base_BV, tuned_BV, alpha):
    assert_close(proxy_tune_logits(base_BV, tuned_BV, tuned_BV, alpha=alpha), base_BV)


@given(base_BV=rows, expert_BV=rows)
def test_alpha_one_over_an_equal_antiexpert_is_the_expert(base_BV, expert_BV):
    shifted_BV = proxy_tune_logits(base_BV, expert_BV, base_BV, alpha=1.0)
    assert_close(shifted_BV, expert_BV, atol=1e-5, rtol=1e-5)


@given(base_BV=rows, expert_BV=rows, antiexpert_BV=rows, alpha=numbers)
def test_padding_columns_are_dropped(base_BV, expert_BV, antiexpert_BV, alpha):
    padded = [torch.cat([x, torch.full((2, 3), 9.0)], dim=1) for x in (expert_BV, antiexpert_BV)]
    expected = proxy_tune_logits(base_BV, expert_BV, antiexpert_BV, alpha=alpha)
    assert_close(proxy_tune_logits(base_BV, *padded, alpha=alpha), expected)


@given(base_BV=rows, expert_BV=rows, antiexpert_BV=rows, alpha=numbers)
def test_columns_that_a_member_lacks_are_never_chosen(base_BV, expert_BV, antiexpert_BV, alpha):
    padded_BV = torch.cat([base_BV, torch.full((2, 3), 9.0)], dim=1)
    found_BV = proxy_tune_logits(padded_BV, expert_BV, antiexpert_BV, alpha=alpha)
    expected_BV = proxy_tune_logits(base_BV, expert_BV, antiexpert_BV, alpha=alpha)
    assert_close(found_BV[:, :-3], expected_BV)
    assert (found_BV[:, -3:] == -torch.inf).all()


# Averages


@given(state=rows, count=st.integers(1, 7), decay=st.floats(0, 0.99))
def test_an_average_of_equal_states_is_that_state(state, count, decay):
    equal = [{"w": state}] * count
    assert torch.equal(uniform_average(equal)["w"], state)
    assert torch.equal(exponential_average(equal, decay)["w"], state)


@given(several=states)
def test_the_uniform_average_is_the_mean(several):
    expected = torch.stack([state["w"] for state in several]).mean(dim=0)
    assert_close(uniform_average(several)["w"], expected, atol=1e-5, rtol=1e-5)


@given(several=states, decay=st.floats(0, 0.99))
def test_the_exponential_average_has_its_closed_form(several, decay):
    last = len(several) - 1
    factors = [decay**last] + [(1 - decay) * decay ** (last - i) for i in range(1, last + 1)]
    expected = sum(factor * state["w"] for factor, state in zip(factors, several, strict=True))
    assert_close(exponential_average(several, decay)["w"], expected, atol=1e-4, rtol=1e-4)


@given(several=states)
def test_averages_are_made_in_float32_and_leave_the_states_untouched(several):
    halves = [{"w": state["w"].bfloat16()} for state in several]
    before = [state["w"].clone() for state in halves]
    assert uniform_average(iter(halves))["w"].dtype == torch.float32
    assert all(torch.equal(a, state["w"]) for a, state in zip(before, halves, strict=True))


@pytest.mark.parametrize("method", ["swa", "ema", "lawa"])
def test_averaging_equal_checkpoints_gives_that_checkpoint(method, zoo, tmp_path):
    run = ("large_base@100", "large_base@200", "large_base@300")
    equal = copies(zoo["large_base"], tmp_path, run)
    entry = {"method": method} | ({"k": 3} if method == "lawa" else {})
    result, expected = weights(built(entry, equal)), weights(zoo["large_base"])
    assert result.keys() == expected.keys()
    assert all(torch.equal(result[name], expected[name]) for name in expected)


def test_an_average_of_sharded_checkpoints_is_that_of_whole_ones(zoo, tmp_path):
    run = ("large_base@200", "large_base@300")
    sharded = {role: tmp_path / role for role in run}
    for role in run:
        model = AutoModelForCausalLM.from_pretrained(zoo[role])
        model.save_pretrained(sharded[role], max_shard_size="100KB")
    result = built({"method": "lawa", "k": 2}, zoo, **sharded)
    whole = built({"method": "lawa", "k": 2}, zoo)
    assert_close(weights(result), weights(whole))


@pytest.mark.parametrize("entry", [{"method": "lawa", "k": 2}, {"mergekit": "soup-linear"}])
def test_what_is_stored_rounded_is_combined_in_the_type_it_is_computed_in(entry, zoo, tmp_path):
    roles = ("large_base", "large_base@200", "large_base@300", *TUNED)
    rounded = copies(zoo["large_base"], tmp_path, roles)
    for role, folder in rounded.items():
        state = {name: tensor.bfloat16() for name, tensor in weights(zoo[role]).items()}
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    mixed = built(entry, rounded)
    result = weights(mixed)["model.layers.0.mlp.up_proj.weight"]
    assert result.dtype == torch.float32
    assert not torch.equal(result, result.bfloat16().float())


# Merges


@pytest.mark.parametrize("recipe", RECIPE_NAMES)
def test_a_merge_of_a_model_with_itself_is_the_model(recipe, zoo, tmp_path):
    equal = copies(zoo["large_knowledge"], tmp_path, ("large_base", *TUNED))
    path = built({"mergekit": recipe}, equal)
    assert_close(weights(path), weights(zoo["large_knowledge"]), atol=2e-6, rtol=1e-5)
    assert (path / "generation_config.json").is_file()
    assert len(AutoTokenizer.from_pretrained(path)) == inspect(path).vocab_size


@pytest.mark.parametrize("recipe", RECIPE_NAMES)
def test_a_merge_of_fine_tunes_is_another_model_of_the_same_shape(recipe, zoo):
    path = built({"mergekit": recipe}, zoo)
    result = weights(path)["model.layers.0.mlp.up_proj.weight"]
    assert inspect(path).signature == inspect(zoo["large_base"]).signature
    for role in ("large_base", *TUNED):
        same = weights(zoo[role])["model.layers.0.mlp.up_proj.weight"]
        assert not torch.allclose(result, same, atol=1e-4)


def test_the_linear_soup_is_the_uniform_average(zoo):
    expected = uniform_average(weights(zoo[role]) for role in TUNED)
    assert_close(weights(built({"mergekit": "soup-linear"}, zoo)), expected)


def test_merges_keep_the_inputs_type(tmp_path):
    base = make_llama(tmp_path / "base", seed=0, dtype=torch.bfloat16)
    folders = {"large_base": base} | {
        role: make_llama(tmp_path / role, seed=seed, near=base, dtype=torch.bfloat16)
        for seed, role in enumerate(TUNED, 1)
    }
    path = built({"mergekit": "task-arithmetic"}, folders)
    assert inspect(path).dtype == "bfloat16"
    assert json.loads((path / "config.json").read_text())["dtype"] == "bfloat16"


def test_random_masks_follow_the_seed(zoo, cache):
    first = weights(built({"mergekit": "dare-ties"}, zoo))
    other = weights(built({"mergekit": "dare-ties", "seed": 1}, zoo))
    for path in (cache / "artifacts").iterdir():
        path.rename(cache / path.name)
    again = weights(built({"mergekit": "dare-ties"}, zoo))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_a_role_of_a_trajectory_can_be_merged(zoo, tmp_path):
    """Its folder's name has an @, which mergekit would take for a revision."""
    models = [{"model": role, "parameters": {"weight": 1}} for role in ("large_base@100", TUNED[0])]
    recipe = tmp_path / "half.yaml"
    recipe.write_text(yaml.safe_dump({"merge_method": "linear", "models": models}))
    expected = uniform_average(weights(zoo[role]) for role in ("large_base@100", TUNED[0]))
    assert_close(weights(built({"mergekit": str(recipe)}, zoo)), expected)


def test_what_mergekit_refuses_is_told_in_one_line(zoo, tmp_path):
    recipe = tmp_path / "odd.yaml"
    recipe.write_text("merge_method: no_such\nmodels: [{model: large_base}]")
    with pytest.raises(HarnessError, match="mergekit refuses this no_such recipe") as error:
        built({"mergekit": str(recipe)}, zoo)
    assert "\n" not in str(error.value)


def test_models_with_other_tokens_are_not_merged(zoo, tmp_path):
    words = [f"v{index}" for index in range(94)]
    other = make_llama(tmp_path / "other", seed=5, words=words)
    with pytest.raises(HarnessError, match="other tokens than"):
        built({"mergekit": "ties"}, zoo, large_arithmetic=other)


# Mixtures of experts


def moe(roles: tuple[str, ...], **options: Any) -> dict[str, Any]:
    experts = [{"role": role, "prompts": [f"w{i} w5", f"w{i + 7}"]} for i, role in enumerate(roles)]
    return {"method": "moe", "base": "large_base", "experts": experts, **options}


@pytest.mark.parametrize("gate_mode", ["hidden", "random", "uniform"])
@pytest.mark.parametrize("shared", ["base", "average"])
def test_equal_experts_leave_the_base_unchanged_in_a_mixture(gate_mode, shared, zoo, tmp_path):
    equal = copies(zoo["large_base"], tmp_path, ("large_base", *TUNED))
    path = built(moe(TUNED, gate_mode=gate_mode, shared=shared), equal)
    assert_close(logits(path), logits(zoo["large_base"]), atol=2e-5, rtol=1e-4)


def test_a_mixture_of_one_expert_a_token_runs_each_token_through_one_model(zoo):
    """With a zero router the first expert serves every token."""
    path = built(moe(TUNED, gate_mode="uniform", experts_per_token=1), zoo)
    spliced = AutoModelForCausalLM.from_pretrained(zoo["large_base"])
    first = {k: v for k, v in weights(zoo[TUNED[0]]).items() if ".mlp." in k}
    spliced.load_state_dict(first, strict=False)
    with torch.inference_mode():
        expected = spliced(torch.arange(20).reshape(2, 10)).logits
    assert_close(logits(path), expected, atol=2e-5, rtol=1e-4)


def test_a_mixture_uses_part_of_its_parameters(zoo):
    info = inspect(built(moe(TUNED), zoo))
    base = inspect(zoo["large_base"])
    per_expert = 2 * 3 * 64 * 96
    assert info.architecture == "MixtralForCausalLM"
    assert info.num_parameters == base.num_parameters + 2 * per_expert + 2 * 3 * 64
    assert info.num_parameters - info.num_active_parameters == per_expert
    assert info.kv_bytes_per_token == base.kv_bytes_per_token


def test_the_router_holds_what_the_feed_forward_block_reads(zoo):
    """Reference: transformers' own modules, called one by one."""
    model = AutoModelForCausalLM.from_pretrained(zoo["large_base"])
    tokenizer = AutoTokenizer.from_pretrained(zoo["large_base"])
    block = model.model.layers[0]
    seen: list[Tensor] = []
    block.post_attention_layernorm.register_forward_hook(lambda *call: seen.append(call[2]))
    prompts = ["w1 w2 w3", "w4"]
    with torch.inference_mode():
        for prompt in prompts:
            model(tokenizer(prompt, return_tensors="pt").input_ids)
    mean = torch.stack([state[0].mean(dim=0) for state in seen]).mean(dim=0)
    router_LED = hidden_router(zoo["large_base"], [prompts, ["w5"]], [[], ["w6"]])
    assert router_LED.shape == (2, 2, 64)
    assert_close(router_LED[0, 0], mean / mean.norm())
    assert_close(router_LED.norm(dim=-1), torch.ones(2, 2))


def test_a_mixture_of_mixtures_is_refused(zoo):
    mixture = built(moe(TUNED, gate_mode="uniform"), zoo)
    with pytest.raises(HarnessError, match="cannot be a Mixtral's base"):
        built(moe(TUNED, gate_mode="random"), zoo, large_base=mixture)


# Artifacts


def test_a_checkpoint_is_its_own_folder(zoo):
    assert built({"method": "checkpoint", "roles": "large_base"}, zoo) == zoo["large_base"]
    assert build_seconds(zoo["large_base"]) is None


def test_an_artifact_is_built_once_and_again_when_an_input_changes(zoo, cache):
    candidate = one({"method": "swa"})
    prints = dict.fromkeys(candidate.recipe.inputs, "1")
    path = made(candidate, zoo, prints)
    built_at = (path / "model.safetensors").stat().st_mtime_ns
    assert made(candidate, zoo, prints) == path
    assert (path / "model.safetensors").stat().st_mtime_ns == built_at
    assert build_seconds(path) >= 0
    assert made(candidate, zoo, prints | {"large_base@300": "2"}) != path
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
