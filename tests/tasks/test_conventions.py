"""Conventions: shots and metrics as leaderboards and papers have them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from melange.harness.errors import HarnessError
from melange.harness.records import Suite
from melange.tasks.conventions import as_agreed, convention_names, read_convention
from melange.tasks.public.definitions import read_definition
from melange.tasks.public.local import members
from melange.tasks.registry import load_tasks
from melange.tasks.scoring import unscorable

TASKS = load_tasks()


def suite(**keys: Any) -> Suite:
    return Suite(name="s", tasks={}, candidates=(), **keys)


@pytest.mark.parametrize("name", convention_names())
def test_every_convention_names_its_source_and_tasks_that_can_be_scored(name: str) -> None:
    convention = read_convention(name)
    assert convention.source.startswith("https://")
    agreed = as_agreed(TASKS, suite(conventions=name))
    for task in convention.tasks:
        assert agreed[task].unit == "fraction"
        assert unscorable(agreed[task]) == ""


def test_the_first_leaderboard_has_its_shots() -> None:
    agreed = as_agreed(TASKS, suite(conventions="open-llm-v1"))
    shots = {name: agreed[name].num_fewshot for name in read_convention("open-llm-v1").tasks}
    assert shots == {"arc_challenge": 25, "hellaswag": 10, "mmlu": 5, "truthfulqa_mc2": 0,
                     "winogrande": 5, "gsm8k": 5}  # fmt: skip
    assert agreed["piqa"] == TASKS["piqa"]


def test_a_parts_chance_is_one_over_its_choices() -> None:
    task = TASKS["leaderboard_bbh"]
    definitions = [read_definition(Path(part.lm_eval)) for part in members(task)]
    assert task.part_chances == pytest.approx(
        {one["task"]: 1 / len(one["doc_to_choice"]) for one in definitions}
    )
    names = {read_definition(Path(part.lm_eval))["task"]
             for part in members(TASKS["leaderboard_musr"])}  # fmt: skip
    assert set(TASKS["leaderboard_musr"].part_chances) == names


def test_a_normalized_score_is_0_at_chance() -> None:
    task = as_agreed(TASKS, suite(conventions="open-llm-v2"))["leaderboard_gpqa"]
    assert (task.chance, task.chance_score) == (0.25, 0.0)


def test_a_suite_changes_single_tasks() -> None:
    settings = {"arc_challenge": {"num_fewshot": 3}}
    agreed = as_agreed(TASKS, suite(conventions="open-llm-v1", task_settings=settings))
    assert (agreed["arc_challenge"].num_fewshot, agreed["hellaswag"].num_fewshot) == (3, 10)


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"conventions": "open-llm-v3"}, "conventions 'open-llm-v3' is unknown; did you mean"),
        ({"task_settings": {"arc": {}}}, "task_settings: task 'arc' is unknown"),
        ({"task_settings": {"piqa": {"shots": 3}}}, "key 'shots' is unknown"),
    ],
)
def test_a_name_that_does_not_exist_is_an_error(keys: dict[str, Any], complaint: str) -> None:
    with pytest.raises(HarnessError, match=complaint):
        as_agreed(TASKS, suite(**keys))


def test_an_aggregation_that_is_no_sum_is_refused(tmp_path: Path) -> None:
    entry = {"metric": "acc", "aggregation": "median"}
    path = tmp_path / "odd.yaml"
    path.write_text(yaml.safe_dump({"task": "odd", "metric_list": [entry]}))
    odd = TASKS["piqa"].model_copy(update={"lm_eval": str(path), "primary_metric": "acc"})
    assert "acc is aggregated by median, which is neither a mean" in unscorable(odd)
