"""A limit draws rows by seed."""

from hypothesis import given
from hypothesis import strategies as st

from melange.harness.row_draws import drawn_rows

sizes = st.integers(1, 300)


@given(size=sizes, few=sizes, more=sizes, seed=st.integers(0, 9))
def test_a_larger_limit_draws_what_a_smaller_one_does(
    size: int, few: int, more: int, seed: int
) -> None:
    small, large = (drawn_rows(size, n, seed=seed, name="t") for n in sorted((few, more)))
    assert set(small) <= set(large) <= set(range(size))
    assert len(small) == min(size, few, more)
    assert small == sorted(small)


def test_rows_depend_on_seed_and_task_and_are_not_the_first() -> None:
    draws = {tuple(drawn_rows(100, 10, seed=seed, name=name)) for seed in (0, 1) for name in "ab"}
    assert len(draws) == 4
    assert tuple(range(10)) not in draws


def test_without_a_limit_all_rows_are_asked_in_order() -> None:
    assert drawn_rows(3, None, seed=5, name="t") == drawn_rows(3, 9, seed=5, name="t") == [0, 1, 2]
