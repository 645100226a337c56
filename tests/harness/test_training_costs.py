"""What training takes beyond a candidate's base: every input once, nothing for free."""

import pytest
from timed_rounds import prepared
from zoo_of_folders import candidates_of, related

from melange.harness.costs import cost_records
from melange.harness.roles import Roles
from melange.harness.training_costs import beyond_base

SECONDS = {"large_base": 1000.0, "large_math": 80.0, "large_code": 60.0, "small_base": 100.0,
           "small_math": 10.0}  # fmt: skip
STEPS = ("large_base@100", "large_base@200")
ROLES = (*SECONDS, *STEPS)
PROXY = {"method": "proxy", "base": "large_base", "expert": "small_math",
         "antiexpert": "small_base"}  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"method": "checkpoint", "roles": ["large_base"]}, 0),
        ({"method": "checkpoint", "roles": ["large_math"]}, 80),
        ({"method": "checkpoint", "roles": ["small_math"]}, 10),
        ({"method": "checkpoint", "roles": ["large_base@100"]}, 0),
        (PROXY, 110),
        ({"method": "vote", "models": ["large_math", "large_code", "small_math"]}, 250),
        ({"method": "vote", "models": "large_math", "draws": 3}, 80),
    ],
)
def test_every_input_counts_once_and_the_base_does_not(
    entry: dict[str, object], expected: float
) -> None:
    (one,) = candidates_of([entry], ROLES)
    assert beyond_base(one, Roles(related(ROLES)), SECONDS.get) == expected


def test_what_nobody_recorded_is_named_and_never_0() -> None:
    (one,) = candidates_of([PROXY], ROLES)
    known = {role: sec for role, sec in SECONDS.items() if role != "small_math"}
    found = beyond_base(one, Roles(related(ROLES)), known.get)
    assert found == "not known: the zoo does not record what training small_math took"
    record = records_of(found)
    assert record.value is None
    assert record.reason == found


def test_a_candidate_costs_its_training_and_its_build() -> None:
    assert records_of(110.0).value == 110.0


def records_of(training_sec: float | str):  # type: ignore[no-untyped-def]
    member = prepared("soup")._replace(training_sec=training_sec)
    found = cost_records(member, [], [], [])
    return next(one for one in found if one.metric == "beyond_base_sec")


def test_the_pocket_zoo_knows_what_its_roles_took() -> None:
    from melange.baselines.zoo.catalog import open_zoo

    zoo = open_zoo("pocket")
    trained = [role for role in zoo.roles if "@" not in role]
    seconds = {role: zoo.training_sec(role) for role in trained}
    assert all(seconds.values()), seconds
    assert open_zoo("llama2").training_sec("large_base") is None
