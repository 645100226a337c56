"""Reward models: vLLM gives transformers' rewards, and pairwise accuracy is measured."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from command_line import run_here
from hypothesis import given
from hypothesis import strategies as st
from zoo_of_folders import FolderZoo, candidates_of, made, plan_of

from melange.baselines.rewards.fitting import fit_preferences
from melange.harness.checkpoints.fit import check_servable
from melange.harness.checkpoints.info import inspect
from melange.harness.engine_shapes import shape_of
from melange.harness.errors import HarnessError
from melange.harness.evaluators.preference import Preference
from melange.harness.records import Plan, Suite, Workload
from melange.harness.requests import Tokens
from melange.harness.runs.writer import RunFolder
from melange.tasks.pocket.preferences import SPLITS
from melange.tasks.registry import load_tasks
from melange.tasks.sources import task_sources

TASKS = load_tasks()
PROBED = ("large_mix", "large_base")
ENTRY = {"method": "reward-probe", "models": list(PROBED)}
NUM_COMPARED = 60


# Which answer is better


@pytest.mark.parametrize("name", SPLITS)
def test_a_pair_is_two_answers_to_one_question(pocket_rows: Path, name: str) -> None:
    rows = [json.loads(line) for line in (pocket_rows / f"{name}.jsonl").open()]
    assert {row["domain"] for row in rows[:3]} == {"knowledge", "arithmetic", "instructions"}
    assert all(row["chosen"] != row["rejected"] for row in rows)
    test = {json.loads(line)["prompt"] for task in ("knowledge", "arithmetic", "instructions")
            for line in (pocket_rows / f"pocket_{task}.jsonl").open()}  # fmt: skip
    asked = {row["prompt"] for row in rows}
    assert asked <= test if name == "preferences" else not asked & test


class Favourite:
    """Rewards texts that contain this token; its context is `max_model_len`."""

    def __init__(self, token: int, max_model_len: int = 256) -> None:
        self.token, self.max_model_len = token, max_model_len
        self.longest = 0

    def reward(self, texts: Sequence[Tokens]) -> list[float]:
        self.longest = max(map(len, texts))
        return [float(self.token in text) for text in texts]


@pytest.fixture
def asking(zoo_folders: Mapping[str, Path], tmp_path: Path) -> Preference:
    rows = [
        {"prompt": "question: what?\nanswer:", "chosen": chosen, "rejected": rejected, "fact": ""}
        for chosen, rejected in ((" red", " blue"), (" blue", " red"), (" green", " blue"))
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"dataset_kwargs": {"data_files": {"test": str(file)}}}
    entries = {"preferences": (TASKS["preferences"], [source])}
    return Preference(entries, zoo_folders["small_mix"], limit=None, seed=0)


def token_of(folder: Path, text: str) -> int:
    from transformers import AutoTokenizer

    return int(AutoTokenizer.from_pretrained(folder).encode(text)[-1])


def test_equal_rewards_count_half_and_margins_are_kept(
    asking: Preference, zoo_folders: Mapping[str, Path]
) -> None:
    session: Any = Favourite(token_of(zoo_folders["small_mix"], " red"))
    (found,) = asking.evaluate(session, ["preferences"])
    assert found.values["pairwise_accuracy"] == [1.0, 0.0, 0.5]
    assert found.columns == {"example": [0, 1, 2], "margin": [1.0, -1.0, 0.0]}
    assert found.values["reward_margin"] == [1.0, -1.0, 0.0]
    assert list(found.samples.response) == [" red", " red", " green"]
    assert found.num_cut == 0


def test_a_long_text_keeps_its_end(asking: Preference, zoo_folders: Mapping[str, Path]) -> None:
    session: Any = Favourite(token_of(zoo_folders["small_mix"], " red"), max_model_len=3)
    (found,) = asking.evaluate(session, ["preferences"])
    assert session.longest == 3
    assert found.num_cut == 3
    assert found.values["pairwise_accuracy"] == [1.0, 0.0, 0.5]


# The head


@given(seed=st.integers(0, 2**16), ridge=st.sampled_from([1e-3, 1e-1]))
def test_the_opposite_preferences_give_the_opposite_head(seed: int, ridge: float) -> None:
    one_PD, other_PD = np.random.default_rng(seed).normal(size=(2, 40, 5))
    there = fit_preferences(one_PD, other_PD, ridge=ridge)
    back = fit_preferences(other_PD, one_PD, ridge=ridge)
    assert np.allclose(there, -back, atol=1e-6)
    assert ((one_PD - other_PD) @ there).mean() > 0


def test_a_probe_needs_a_llama(zoo_folders: Mapping[str, Path]) -> None:
    (found,) = candidates_of([ENTRY | {"models": "mixture_base"}], ["mixture_base"])
    with pytest.raises(HarnessError, match="MixtralForCausalLM cannot get a reward head"):
        made(found, zoo_folders)


@pytest.fixture(scope="module")
def folders(zoo_folders: Mapping[str, Path]) -> list[Path]:
    return [made(one, zoo_folders) for one in candidates_of([ENTRY], PROBED)]


def test_a_probe_is_the_same_whenever_it_is_built(
    folders: Sequence[Path], zoo_folders: Mapping[str, Path], tmp_path: Path
) -> None:
    from melange.baselines.rewards.probe import METHOD

    (found,) = candidates_of([ENTRY | {"models": PROBED[0]}], PROBED)
    recipe: Any = found.recipe
    METHOD.build(recipe, {PROBED[0]: zoo_folders[PROBED[0]]}, tmp_path)
    again, first = (one / "model.safetensors" for one in (tmp_path, folders[0]))
    assert again.read_bytes() == first.read_bytes()


# Plans


def refusals(plan: Plan) -> dict[tuple[str, str | None], str]:
    return {(cell.candidate, cell.task): cell.refused for cell in plan.cells}


def test_a_plan_gives_rewards_to_reward_models_and_texts_to_language_models(
    zoo_folders: Mapping[str, Path],
) -> None:
    asked = ("pocket_knowledge", "pocket_mc_trade", "preferences")
    load = Workload(name="w", prompt_tokens=8, output_tokens=8, num_requests=2)
    suite = Suite(
        name="s", tasks={"pocket": asked}, workloads=(load,),
        candidates=(
            {"method": "checkpoint", "roles": "large_mix"}, ENTRY | {"models": "large_mix"}
        ),
    )  # fmt: skip
    plan = plan_of(suite, FolderZoo({"large_mix": zoo_folders["large_mix"]}), TASKS)
    assert refusals(plan) == {
        ("large_mix", "pocket_knowledge"): "",
        ("large_mix", "pocket_mc_trade"): "",
        ("large_mix", None): "",
        ("reward-large_mix", "pocket_knowledge"): "pocket_knowledge asks for a text, which a "
        "reward model does not give",
        ("reward-large_mix", "pocket_mc_trade"): "pocket_mc_trade asks for a choice, which a "
        "reward model does not give",
        ("reward-large_mix", "preferences"): "",
        ("reward-large_mix", None): "workloads time how text is generated, and it generates none",
    }


def test_a_checkpoint_says_itself_that_it_is_a_reward_model(
    folders: Sequence[Path], tmp_path: Path
) -> None:
    """Averages of reward models do too."""
    roles = {"one": folders[0], "other": folders[1]}
    zoo = FolderZoo(roles)
    suite = Suite(name="s", tasks={"pocket": ("preferences",)}, candidates=(
        {"method": "checkpoint", "roles": "one"},
        {"method": "vote", "models": ["one", "other"]}))  # fmt: skip
    plan = plan_of(suite, zoo, TASKS)
    assert refusals(plan) == {("one", "preferences"): "", ("one", None): "", ("vote-2", None): ""}
    assert shape_of([inspect(folders[0])], folders[0], "cpu").runner == "pooling"


def test_a_classifier_of_several_labels_is_refused(folders: Sequence[Path], tmp_path: Path) -> None:
    config = json.loads((folders[0] / "config.json").read_text())
    config["id2label"] = {"0": "bad", "1": "good"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").symlink_to(folders[0] / "model.safetensors")
    with pytest.raises(HarnessError, match="does not generate text"):
        check_servable(inspect(tmp_path))


# The engine


@pytest.fixture(scope="module")
def session(folders: Sequence[Path]) -> Iterator[Any]:
    from melange.harness.engines.session import EngineSession

    session = EngineSession(folders[0], shape_of([inspect(folders[0])], folders[0], "cpu"))
    yield session
    session.close()


def rewards_of_transformers(folder: Path, texts: Sequence[Tokens]) -> list[float]:
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return [float(model(torch.tensor([text])).logits) for text in texts]


@pytest.mark.slow
def test_rewards_are_those_of_transformers_for_one_model_after_the_other(
    session: Any, folders: Sequence[Path], pocket_rows: Path
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folders[0])
    lines = (pocket_rows / "preferences.jsonl").read_text().splitlines()[:NUM_COMPARED]
    texts = [
        tuple(tokenizer.encode(row["prompt"] + row["chosen"])) for row in map(json.loads, lines)
    ]
    said = []
    for folder in (*folders, folders[0]):
        session.load(folder)
        said.append(session.reward(texts))
        expected = rewards_of_transformers(folder, texts)
        # Rewards have an arbitrary scale, so the error is relative to the largest one.
        assert said[-1] == pytest.approx(expected, rel=0, abs=1e-5 * max(map(abs, expected)))
    assert said[0] == said[2]
    assert said[0] != pytest.approx(said[1], abs=0.1)


@pytest.mark.slow
def test_a_probe_ranks_pairs_that_it_was_not_fitted_to(
    session: Any, folders: Sequence[Path], pocket_rows: Path
) -> None:
    task = TASKS["preferences"]
    entries = {task.name: (task, task_sources([task], pocket_rows)[task.name])}
    session.load(folders[0])
    asking = Preference(entries, folders[0], limit=600, seed=0)
    (found,) = asking.evaluate(session, [task.name])
    scores = found.values["pairwise_accuracy"]
    above = (np.mean(scores) - 0.5) / (np.std(scores) / len(scores) ** 0.5)
    assert above > 3


@pytest.mark.slow
def test_weights_that_are_not_numbers_are_refused(
    session: Any, folders: Sequence[Path], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folders[0] / "model.safetensors")
    state["score.weight"][0, 0] = torch.nan
    save_file(state, tmp_path / "model.safetensors")
    for file in folders[0].glob("*.json"):
        (tmp_path / file.name).symlink_to(file)
    with pytest.raises(HarnessError, match="rewards are not finite"):
        session.load(tmp_path)


@pytest.mark.slow
def test_a_run_shows_how_often_each_is_right(tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = run_here("--suite", "rewards", "--limit", 30, "--only", "*large*", "--out", out)
    assert done.returncode == 0, done.stderr
    page = (out / "report" / "tasks" / "preferences.html").read_text()
    assert "which of two answers to a prompt is rewarded more" in page
    front = (out / "report" / "index.html").read_text()
    for name in ("reward-large_base", "reward-large_mix"):
        assert name in front
        kept = pq.read_table(out / "samples" / name / "preferences.parquet")
        assert len(kept["margin"]) == 30
    (found,) = (
        one
        for one in RunFolder(out).measurements()
        if (one.candidate, one.metric, one.task)
        == ("reward-large_mix", "pairwise_accuracy", "preferences")
    )
    assert found.n == 30
    assert None not in (found.value, found.ci_low, found.ci_high)
    assert re.search(rf"{found.value:.1%}".rstrip("%"), page)
