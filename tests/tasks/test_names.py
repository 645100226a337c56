"""An entry that names what its task does not have is refused before anything is measured."""

import pytest

from melange.harness.errors import HarnessError
from melange.harness.records import Task
from melange.tasks.names import check_names
from melange.tasks.registry import load_tasks

TASKS = load_tasks()


def test_every_task_that_ships_has_what_its_entry_names() -> None:
    check_names(TASKS.values())


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("gsm8k", {"filter": "none"}, "filter='none', but the task has strict-match, flexible-"),
        ("gsm8k", {"primary_metric": "exact"}, "primary_metric='exact', but the task has exact_m"),
        ("mmlu", {"filter": "strict"}, "filter='strict', but the task has none; correct its entry"),
        ("arc_easy", {"primary_metric": "accnorm"}, "but the task has acc, acc_norm"),
        ("arc_easy", {"output_type": "generate_until"}, "but the task has multiple_choice"),
        ("pocket_knowledge", {"filter": "nine"}, "filter='nine', but the task has answer"),
        ("pocket_mc_trade", {"primary_metric": "ac"}, "primary_metric='ac', but the task has acc"),
    ],
)
def test_another_name_is_refused_with_those_that_exist(
    name: str, change: dict[str, str], said: str
) -> None:
    with pytest.raises(HarnessError) as caught:
        check_names([TASKS[name].model_copy(update=change)])
    assert str(caught.value).startswith(f"{name}: ")
    assert said in str(caught.value)


def test_metrics_that_only_the_task_s_code_knows_are_left_to_its_scoring() -> None:
    coded: Task = TASKS["truthfulqa_mc2"].model_copy(update={"primary_metric": "any"})
    check_names([coded])
