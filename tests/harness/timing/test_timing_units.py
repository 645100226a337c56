"""Who is timed as one, and in which order."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_timing import member

from melange.harness.timing.units import REFERENCE_EVERY, Unit, round_order, units_of


def test_candidates_of_equal_kernels_are_one_unit_named_after_the_first() -> None:
    members = [member(name, kernels) for name, kernels in ("ax", "by", "cx", "dy", "ez")]
    units = units_of(members, members[2])
    assert [(one.name, one.names) for one in units] == [
        ("a", ["a", "c"]), ("b", ["b", "d"]), ("e", ["e"]),
    ]  # fmt: skip


def test_a_reference_that_is_done_is_timed_with_its_unit_but_not_recorded() -> None:
    base, soup = member("base", "x"), member("soup", "x")
    (unit,) = units_of([soup], base)
    assert (unit.name, unit.names) == ("soup", ["soup"])
    assert [unit.next_member().candidate.name for _ in range(3)] == ["base", "soup", "base"]


def test_members_take_turns_and_one_that_fails_costs_no_turn() -> None:
    members = [member(name, "x") for name in "abc"]
    unit = Unit(members, members)
    assert unit.next_member().candidate.name == "a"
    unit.lose(unit.next_member())
    assert [unit.next_member().candidate.name for _ in range(3)] == ["c", "a", "c"]
    assert unit.names == ["a", "c"]


@given(st.integers(0, 20), st.integers(0, 5))
def test_every_unit_stands_between_two_visits_of_the_reference(number: int, seed: int) -> None:
    reference, *others = (Unit([], ()) for _ in range(number + 1))
    order = [reference, *round_order(others, reference, str(seed))]
    assert Counter(map(id, order)).items() >= Counter(map(id, others)).items()
    at = [i for i, one in enumerate(order) if one is reference]
    assert order[-1] is reference
    assert all(last - first <= REFERENCE_EVERY + 1 for first, last in pairwise(at))


def test_the_order_differs_between_rounds_and_not_between_runs() -> None:
    units = [Unit([], ()) for _ in range(12)]
    orders = [round_order(units, None, f"0 {number}") for number in (0, 0, 1)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert set(orders[0]) == set(units)


def test_places_in_a_round_are_equally_likely() -> None:
    """What is always timed first is measured on another machine than what is timed last."""
    units = [Unit([], ()) for _ in range(6)]
    places = Counter(round_order(units, None, f"0 {n}").index(units[0]) for n in range(600))
    assert all(places[at] == pytest.approx(100, abs=40) for at in range(6))
