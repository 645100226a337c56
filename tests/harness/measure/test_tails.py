"""Percentiles above the median are claimed only where enough requests took different times."""

import random

import pytest

from melange.harness.measure.summaries import percentiles
from melange.harness.measure.tails import batch_refusal, num_distinct

LOCKSTEP = [[1.0 + 0.00007 * at + 0.01 * number for at in range(16)] for number in range(3)]
"""As 16 equal requests of a batch take: apart only by the time in which each is added."""


def spread(num: int) -> list[float]:
    return [1.05**at for at in range(num)]


def test_requests_in_lockstep_have_one_time_a_round() -> None:
    assert [num_distinct(one) for one in LOCKSTEP] == [1, 1, 1]
    assert num_distinct(spread(16)) == 16
    assert num_distinct([]) == 0


@pytest.mark.parametrize("share", [0.9, 0.99])
def test_a_batch_in_lockstep_has_a_median_only(share: float) -> None:
    assert "lockstep: 16 requests sent at once take 1 different time;" in batch_refusal(
        share, LOCKSTEP
    )
    assert [one.suffix for one in percentiles(LOCKSTEP)] == [""]


def test_more_rounds_are_not_more_requests() -> None:
    many = [LOCKSTEP[0]] * 300
    assert batch_refusal(0.9, many)


def test_percentiles_of_mixed_lengths_are_claimed_as_far_as_their_number_goes() -> None:
    assert [one.suffix for one in percentiles([spread(16)] * 3)] == ["", "_p90"]
    assert batch_refusal(0.99, [spread(16)]) == "16 requests sent at once are too few: it needs 100"
    assert [one.suffix for one in percentiles([spread(120)] * 3)] == ["", "_p90", "_p99"]


def test_a_disturbed_round_does_not_make_a_lockstep_look_spread() -> None:
    rng = random.Random(0)
    disturbed = [rng.uniform(1, 3) for _ in range(16)]
    assert "lockstep" in batch_refusal(0.9, [*LOCKSTEP, disturbed])
