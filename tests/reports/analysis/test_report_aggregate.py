"""The report's statistics and number formats: laws, and values from the literature."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melange.harness.records import Task
from melange.harness.stats import wilson_interval
from melange.reports.analysis.aggregate import (
    Offer,
    difference,
    oriented,
    pareto_front,
    unbeaten,
)
from melange.reports.analysis.run import Reading
from melange.reports.units import PERCENT, duration, scale_for, significant, unit_kind


def share(hits: int, n: int) -> Reading:
    low, high = wilson_interval(hits / n, n)
    return Reading(value=hits / n, low=low, high=high, n=n, outcome="completed", reason="")


shares = st.integers(1, 300).flatmap(lambda n: st.builds(share, st.integers(0, n), st.just(n)))
points = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30)


def test_difference_agrees_with_newcombe_1998():
    found = difference(share(56, 70), share(48, 80))
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


@given(left=shares, right=shares)
def test_difference_changes_sign_with_its_sides(left, right):
    there, back = difference(left, right), difference(right, left)
    assert (there.value, there.low, there.high) == pytest.approx(
        (-back.value, -back.high, -back.low)
    )


def test_a_missing_side_leaves_no_difference():
    assert difference(share(1, 2), Reading()) is None
    assert difference(Reading(), share(1, 2)) is None


def test_a_share_of_misses_becomes_one_of_hits():
    task = Task(name="t", lm_eval="t", scale="pocket", domain="d", output_type="multiple_choice",
                primary_metric="acc", higher_is_better=False)  # fmt: skip
    found = oriented(share(3, 10), task)
    assert (found.value, found.low, found.high) == pytest.approx(
        (0.7, *wilson_interval(0.7, 10)), abs=1e-9
    )
    assert oriented(found, task.model_copy(update={"higher_is_better": True})) == found
    assert oriented(Reading(), task) == Reading()


@given(points)
def test_front_is_what_no_point_beats(pairs):
    costs, gains = [c for c, _ in pairs], [g for _, g in pairs]
    front = set(pareto_front(costs, gains))

    def beats(j, i):
        no_worse = costs[j] <= costs[i] and gains[j] >= gains[i]
        return no_worse and (costs[j], gains[j]) != (costs[i], gains[i])

    for i in range(len(pairs)):
        assert (i in front) == (not any(beats(j, i) for j in range(len(pairs))))


def offer(low: float, high: float, *worse: str) -> Offer:
    return Offer(cost=(low, high), better_than=frozenset(worse))


def test_only_significantly_better_candidates_beat_another():
    assert unbeaten({
        "leader": offer(1.0, 1.2, "worse", "worse and dearer", "cheap"),
        "as good by noise": offer(1.1, 1.3),
        "worse": offer(1.1, 1.3),  # of which cost nobody can tell
        "worse and dearer": offer(2.0, 2.1),
        "cheap": offer(0.5, 0.6),
    }) == ["leader", "as good by noise", "worse", "cheap"]  # fmt: skip


def test_of_equal_cost_the_significantly_better_beats():
    offers = {"leader": offer(1, 1, "worse"), "worse": offer(1, 1), "alike": offer(1, 1)}
    assert unbeaten(offers) == ["leader", "alike"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.5, "0.500"), (12.345, "12.3"), (123456, "123\u202f456"), (-2.5, "\u22122.50")],
)
def test_significant_digits(value, text):
    assert significant(value) == text


def test_a_column_has_one_unit_that_fits_its_middle():
    scale = scale_for("bytes", [3 * 2**20, 5 * 2**20, None, 2**30])
    assert (scale.label, scale.write(5 * 2**20)) == ("MiB", "5")
    assert scale_for("bytes", []).label == "B"
    assert scale_for("sec", [0.2, 0.3, 0.4, 261.07]).label == "s"
    assert scale_for("tokens/s", [10.0]).label == "tokens/s"
    assert PERCENT.write(0.12345) == "12.3"
    assert PERCENT.write_signed(-0.0001) == "0.0"


def test_units_follow_the_name_before_the_field():
    assert unit_kind("kv_bytes_per_token", "fraction") == "bytes"
    assert unit_kind("decode_tokens_per_sec", "") == "tokens/s"
    assert unit_kind("latency_sec_p99", "") == "sec"
    assert unit_kind("exact_match", "fraction") == "fraction"


def test_durations_read_as_people_say_them():
    assert [duration(s) for s in (0.25, 12.4, 200, 7500)] == [
        "250 ms", "12.4 s", "3 min 20 s", "2 h 05 min"
    ]  # fmt: skip
