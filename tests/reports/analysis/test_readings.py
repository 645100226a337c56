"""What is not known well enough is not shown as a number."""

import pytest

from melange.reports.analysis.reading import Reading, shown

RATIO = "relative_throughput"


def ratio(low: float | None, high: float | None, n: int = 3) -> Reading:
    return Reading(value=0.64, low=low, high=high, n=n, outcome="completed", reason="")


@pytest.mark.parametrize(("low", "high"), [(0.60, 0.69), (0.64, 0.64)])
def test_a_ratio_known_to_a_tenth_is_shown(low: float, high: float) -> None:
    assert shown(ratio(low, high), RATIO) == ratio(low, high)


def test_a_ratio_of_three_restless_rounds_is_not_known_yet() -> None:
    found = shown(ratio(0.13, 3.08), RATIO)
    assert (found.value, found.low, found.high, found.n) == (None, None, None, 3)
    assert found.outcome == "unknown"
    assert found.reason == (
        "not known yet: known within a factor of 4.87 from 3 rounds; more rounds would help"
    )


def test_a_ratio_of_one_round_is_not_known_yet() -> None:
    assert shown(ratio(None, None, n=1), RATIO).outcome == "unknown"


def test_other_metrics_are_shown_with_whatever_interval_they_have() -> None:
    assert shown(ratio(0.13, 3.08), "decode_tokens_per_sec") == ratio(0.13, 3.08)
