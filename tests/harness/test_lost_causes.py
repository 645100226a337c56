"""Which candidates are given up after which failures."""

import pytest
from queued import prepared

from melange.harness.executors.jobs import Evaluated, Failed
from melange.harness.lost_causes import LostCauses
from melange.harness.prepare import Prepared

NAMES = ("a", "b", "c")
DIED = Failed("the engine process died (signal 4)", engine="dead", stage="load")
BROKE = Failed("IndexError: 23", engine="broken", stage="work")
UNFIT = Failed("lacks tensors", stage="load")
ANSWER = Evaluated([], 0.0)


@pytest.fixture
def members() -> tuple[Prepared, ...]:
    return tuple(prepared(name, "single", "one shape") for name in NAMES)


def test_an_engine_that_does_not_start_is_tried_for_two_candidates(members) -> None:
    lost = LostCauses()
    for number, gib in enumerate((12.07, 11.93)):
        assert not lost.why(members[number])
        lost.note(members[number], Failed(f"{gib}/17.09 GiB is too little", stage="start"))
    assert lost.why(members[0]) == "12.07/17.09 GiB is too little"
    assert lost.why(members[2]).startswith("not tried, since its engine serves none of a, b: 11.93")


def test_a_process_that_died_is_tried_once_more(members) -> None:
    """It may have run out of memory that another engine has freed since."""
    lost = LostCauses()
    lost.note(members[0], DIED)
    assert not lost.why(members[0])
    lost.note(members[0], DIED)
    assert lost.why(members[0]) == f"given up after the same twice: {DIED.reason}"
    assert not lost.why(members[1])
    lost.note(members[1], DIED)
    assert lost.why(members[2]).startswith("not tried")


def test_two_deaths_of_different_causes_are_no_pattern(members) -> None:
    lost = LostCauses()
    lost.note(members[0], DIED)
    lost.note(members[0], DIED._replace(reason="the engine process died (signal 11)"))
    lost.note(members[1], DIED._replace(reason="killed"))
    assert not any(map(lost.why, members))


def test_weights_that_an_engine_does_not_take_condemn_nobody_else(members) -> None:
    lost = LostCauses()
    lost.note(members[0], UNFIT)
    lost.note(members[1], UNFIT)
    assert lost.why(members[0]) == lost.why(members[1]) == UNFIT.reason
    assert not lost.why(members[2])


def test_a_shape_that_has_served_one_is_good_for_others(members) -> None:
    lost = LostCauses()
    lost.note(members[2], ANSWER)
    for member in (*members[:2], *members[:2]):
        lost.note(member, DIED)
    assert lost.why(members[0])
    assert lost.why(members[1])
    assert not lost.why(members[2])


def test_one_task_that_no_candidate_survives_costs_that_task_alone(members) -> None:
    lost = LostCauses()
    for member in members:
        lost.note(member, BROKE, asked_again=True)  # all tasks together
        lost.note(member, BROKE)  # the culprit
    assert not any(map(lost.why, members))


def test_a_candidate_that_breaks_on_two_tasks_is_given_up(members) -> None:
    lost = LostCauses()
    for _ in range(2):
        lost.note(members[0], BROKE)
    assert lost.why(members[0])
    assert not lost.why(members[1])


def test_a_task_that_is_at_fault_itself_counts_for_nothing(members) -> None:
    lost = LostCauses()
    for _ in range(3):
        lost.note(members[0], Failed("KeyError: 'question'", stage="tasks"))
    assert not lost.why(members[0])
