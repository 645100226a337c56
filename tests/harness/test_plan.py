"""A plan decides every cell before anything starts."""

import json
import shutil
from pathlib import Path

import pytest
from architectures import make
from quantized import quantize
from small_plans import SUITE, TASKS, unbuilt
from zoo_of_folders import FolderZoo, plan_of

from melange.baselines.catalog import methods
from melange.baselines.proxy.tuning import Pair, mix_members
from melange.harness.checkpoints.source import Checkpoints
from melange.harness.engines.member_checks import unfit_member
from melange.harness.errors import HarnessError
from melange.harness.recipes.logit_mix import LogitMix
from melange.harness.records import Candidate, Plan

ROLES = ("small_base", "large_base")


def plan(**options: object) -> Plan:
    return plan_of(SUITE, unbuilt(*ROLES), TASKS, **options)


def test_every_candidate_has_a_cell_per_task_and_one_for_speed_and_memory() -> None:
    cells = [cell.task for cell in plan().pending("large_base")]
    assert cells == ["quiz_easy", "quiz_hard", "sums", None]


def test_a_candidate_whose_role_the_zoo_lacks_is_refused_with_the_role() -> None:
    refused = {cell.refused for cell in plan().cells if cell.candidate == "proxy-small_chat-a1.0"}
    assert refused == {"the zoo folders has no role small_chat"}


def test_what_is_done_is_not_pending() -> None:
    done = {("large_base", "sums"), ("large_base", None)}
    assert [cell.task for cell in plan(done=done).pending("large_base")] == [
        "quiz_easy",
        "quiz_hard",
    ]


def test_a_task_without_data_is_refused_for_everyone() -> None:
    chosen = plan(unavailable=lambda task: "no data" if task.name == "sums" else "")
    assert {cell.task for cell in chosen.cells if cell.refused == "no data"} == {"sums"}
    assert [cell.task for cell in chosen.pending("small_base")] == ["quiz_easy", "quiz_hard", None]


def test_globs_narrow_candidates_by_name_or_family_and_tasks() -> None:
    chosen = plan(only=["proxy", "small_*"], task_globs=["*_hard"])
    assert [one.name for one in chosen.candidates] == ["small_base", "proxy-small_chat-a1.0"]
    assert [task.name for task in chosen.tasks] == ["quiz_hard"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ["large_bse"]}, "candidate 'large_bse' is unknown; did you mean large_base"),
        ({"task_globs": ["quiz_esy"]}, "task 'quiz_esy' is unknown; did you mean quiz_easy"),
    ],
)
def test_a_glob_that_matches_nothing_names_the_nearest(options: object, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        plan(**options)  # type: ignore[arg-type]


def test_a_suite_without_tasks_for_the_zoo_says_for_which_it_has_some() -> None:
    suite = SUITE.model_copy(update={"tasks": {"public": ("sums",)}})
    with pytest.raises(
        HarnessError, match="has no tasks for a pocket zoo; it has them for: public"
    ):
        plan_of(suite, unbuilt(*ROLES), TASKS)


def test_a_chat_task_is_refused_where_the_expert_has_a_prompt_of_its_own() -> None:
    entry = SUITE.candidates[1] | {"expert": "small_base", "name": "own", "own_prompt": True}
    suite = SUITE.model_copy(update={"candidates": (*SUITE.candidates[:1], entry)})
    tasks = TASKS | {"sums": TASKS["sums"].model_copy(update={"chat": True})}
    made = plan_of(suite, unbuilt(*ROLES), tasks)
    refused = {(cell.candidate, cell.task): cell.refused for cell in made.cells if cell.refused}
    assert list(refused) == [(made.candidates[-1].name, "sums")]
    assert "own_prompt" in refused[made.candidates[-1].name, "sums"]


def test_a_plan_says_how_a_mix_is_served() -> None:
    checkpoints = Checkpoints(unbuilt(*ROLES), methods())
    pair = Pair(expert="small_chat", antiexpert="small_base", own_prompt=True)
    for own_prompt, served in ((False, "fused"), (True, "logits processor")):
        members = mix_members("large_base", [pair.model_copy(update={"own_prompt": own_prompt})])
        mix = Candidate(name="x", family="proxy", recipe=LogitMix(method="proxy", members=members))
        assert mix.recipe.served_as(checkpoints) == served
    assert plan().candidate("large_base").recipe.served_as(checkpoints) == ""


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"architectures": ["MambaForCausalLM"], "state_size": 16}, "(state_size=16)"),
        ({"architectures": ["JambaForCausalLM"], "mamba_d_state": 16}, "(mamba_d_state=16)"),
        ({"architectures": ["Qwen3NextForCausalLM"],
          "layer_types": ["linear_attention", "full_attention"]}, "layer_types: linear_attention"),
        ({"architectures": ["GraniteMoeHybridForCausalLM"], "mamba_d_state": 256,
          "layer_types": ["attention", "attention"]}, ""),  # no Mamba layers
        ({"architectures": ["Gemma3ForConditionalGeneration"],
          "text_config": {"layer_types": ["sliding_attention", "full_attention"]}}, ""),
        ({"architectures": ["GemmaForCausalLM"],
          "rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_type=dynamic"),
        ({"architectures": ["MistralForCausalLM"],
          "rope_scaling": {"type": "dynamic", "factor": 2.0}}, ""),  # fused
        ({"architectures": ["GraniteForCausalLM"], "logits_scaling": 8.0}, ""),
        ({"architectures": ["Exaone4ForCausalLM"], "sliding_window": 64}, ""),
    ],
)  # fmt: skip
def test_a_member_that_cannot_run_beside_the_base_is_refused(
    config: dict[str, object], reason: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 1024}))
    members = mix_members("large_base", [Pair(expert="small_chat", antiexpert="small_base")])
    mix = LogitMix(method="proxy", members=members)
    said = unfit_member(mix, dict.fromkeys(("large_base", "small_chat", "small_base"), tmp_path))
    assert reason in said
    assert bool(said) == bool(reason)


# Unsuitable checkpoints cost one candidate each; the rest of the plan is kept


def refusals(folders: dict[str, Path], *entries: dict[str, object]) -> list[str]:
    """Why each entry's candidate is refused; empty for one that will run. `good` runs too."""
    good = {"method": "checkpoint", "roles": "good"}
    suite = SUITE.model_copy(update={"candidates": (good, *entries)})
    made = plan_of(suite, FolderZoo(folders), TASKS)
    reasons = {cell.candidate: cell.refused for cell in made.cells}
    assert reasons.pop("good") == ""
    assert not any("\n" in reason for reason in reasons.values())
    return list(reasons.values())


@pytest.fixture(scope="module")
def llamas(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("llamas")
    good = make("Llama", root / "good")
    return {
        "good": good,
        "tuned": make("Llama", root / "tuned", seed=1, near=good),
        "wide": make("Llama", root / "wide", intermediate_size=128),
        "biased": make("Llama", root / "biased", attention_bias=True),
        "qwen": make("Qwen2", root / "qwen"),
        "packed": quantize(good, root / "packed", "gptq"),
    }


def mixture(*roles: str) -> dict[str, object]:
    experts = [{"role": role} for role in roles]
    return {"method": "moe", "base": roles[0], "gate_mode": "random", "experts": experts}


def merge(folder: Path, *roles: str) -> dict[str, object]:
    models = [{"model": role, "parameters": {"weight": 0.5}} for role in roles]
    (folder / "m.yaml").write_text(json.dumps({"merge_method": "linear", "models": models}))
    return {"mergekit": str(folder / "m.yaml")}


@pytest.mark.parametrize(
    ("roles", "says"),
    [
        (("good", "tuned"), ""),
        (("qwen", "qwen"), "Qwen2ForCausalLM cannot be a Mixtral's base"),
        (("biased", "biased"), "has biases, Mixtral has none"),
        (("good", "wide"), "combine models of one shape"),
        (("good", "packed"), "is quantized (gptq)"),
    ],
)
def test_a_mixture_that_cannot_be_built_is_refused(
    roles: tuple[str, ...], says: str, llamas: dict[str, Path]
) -> None:
    (reason,) = refusals(llamas, mixture(*roles))
    assert says in reason
    assert bool(reason) == bool(says)


@pytest.mark.parametrize(
    ("roles", "says"),
    [
        (("good", "tuned"), ""),
        (("good", "wide"), "model.layers.0.mlp.down_proj.weight is [64, "),
        (("good", "qwen"), "combine models of one architecture"),
        (("good", "packed"), "is quantized (gptq); combine the full weights"),
    ],
)
def test_a_merge_or_average_that_cannot_be_made_is_refused(
    roles: tuple[str, ...], says: str, llamas: dict[str, Path], tmp_path: Path
) -> None:
    run = {f"run@{step}": llamas[role] for step, role in enumerate(roles, 1)}
    average = {"method": "swa", "run": "run", "start": 0.0}
    for reason in refusals(llamas | run, merge(tmp_path, *roles), average):
        assert says in reason
        assert bool(reason) == bool(says)


def test_a_quantized_member_of_a_mix_is_refused(llamas: dict[str, Path]) -> None:
    entry = {"method": "proxy", "base": "good", "expert": "packed", "antiexpert": "good"}
    (reason,) = refusals(llamas, entry)
    assert "packed: is quantized (gptq)" in reason


def test_a_damaged_or_foreign_checkpoint_costs_its_own_candidates(
    llamas: dict[str, Path], tmp_path: Path
) -> None:
    names = ("cut", "encoder", "labels", "other")
    for name in names:
        shutil.copytree(llamas["good"], tmp_path / name)
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    for name, changes in (
        ("encoder", {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}),
        ("labels", {"architectures": ["LlamaForSequenceClassification"]}),
        ("other", {"intermediate_size": 128}),
    ):
        config = tmp_path / name / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    folders = llamas | {name: tmp_path / name for name in names}
    entries = [{"method": "checkpoint", "roles": role} for role in names]
    cut, encoder, labels, other = refusals(folders, *entries)
    assert "truncated" in cut
    assert "an encoder and a decoder" in encoder
    assert "does not generate text" in labels
    assert "mlp.gate_proj.weight is [96, 64], its config.json promises [128, 64]" in other
