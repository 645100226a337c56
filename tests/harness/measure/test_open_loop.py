"""Open loops: arrivals, and figures of requests."""

import itertools
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from single_server import SingleServer

from melange.harness.measure.open_loop import METRICS, drive, due_times, queue_growth, readings
from melange.harness.measure.summaries import OPEN_LOOP, Told, summarize
from melange.harness.records import Measurement, Suite
from melange.harness.workloads import Goodput, Workload

SERVICE_SEC = 0.1


def workload(rate: float, num_requests: int = 400, **more: object) -> Workload:
    fields = {"name": f"serve@{rate:g}/s", "prompt_tokens": 4, "output_tokens": 4}
    return Workload.model_validate(
        fields | {"request_rate": rate, "num_requests": num_requests} | more
    )


def measured(load: Workload, repetitions: int = 4) -> dict[str, Measurement]:
    loops = [drive(SingleServer(SERVICE_SEC), load, seed=seed) for seed in range(repetitions)]
    found = [readings(load, one.requests) for one in loops]
    return {
        one.metric: one for one in summarize(Told("c", "f", load.name), METRICS, found, OPEN_LOOP)
    }


# Arrivals


@given(st.floats(0.1, 1000), st.integers(0, 9), st.sampled_from([0.5, 1.0, 4.0, float("inf")]))
def test_arrivals_ascend_and_take_as_long_as_the_rate_says(
    rate: float, seed: int, burstiness: float
) -> None:
    due = due_times(workload(rate, 50, burstiness=burstiness), seed=seed)
    assert due == sorted(due)
    assert due[-1] == pytest.approx(50 / rate)
    assert due == due_times(workload(rate, 50, burstiness=burstiness), seed=seed)


@pytest.mark.parametrize(("burstiness", "variation"), [(1.0, 1.0), (0.25, 2.0), (4.0, 0.5)])
def test_times_between_arrivals_vary_as_burstiness_says(
    burstiness: float, variation: float
) -> None:
    gaps = np.diff(due_times(workload(1.0, 20_000, burstiness=burstiness), seed=0))
    assert gaps.std() / gaps.mean() == pytest.approx(variation, rel=0.05)


def test_regular_arrivals_are_regular() -> None:
    gaps = np.diff(due_times(workload(4.0, 20, burstiness=float("inf")), seed=0))
    assert gaps == pytest.approx(0.25)


def test_a_list_of_rates_becomes_a_workload_each_with_the_rate_in_its_name() -> None:
    serve = {"name": "serve", "prompt_tokens": 4, "output_tokens": 4, "num_requests": 9}
    suite = Suite(
        name="s", tasks={}, candidates=(), workloads=({**serve, "request_rate": [2, 0.5]},)
    )
    assert [(one.name, one.request_rate) for one in suite.workloads] == [
        ("serve@2/s", 2), ("serve@0.5/s", 0.5),
    ]  # fmt: skip
    assert Suite.model_validate(suite.model_dump(mode="json")) == suite
    assert {one.series for one in suite.workloads} == {"serve"}
    assert (suite.batches, suite.open_loops) == ((), suite.workloads)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"goodput": {"ttft_sec": 1}}, "need a request_rate"),
        ({"request_rate": 0}, "greater than 0"),
        ({"request_rate": 1, "goodput": {"attainment": 0.9}}, "goodput has no limit"),
        ({"request_rate": 1, "warm_up": 0.5}, "less than 0.5"),
    ],
)
def test_a_workload_that_makes_no_sense_is_refused(
    wrong: dict[str, object], complaint: str
) -> None:
    fields = {"name": "w", "prompt_tokens": 4, "output_tokens": 4, "num_requests": 9}
    with pytest.raises(ValidationError, match=complaint):
        Workload.model_validate(fields | wrong)


# Figures


def test_a_queue_waits_as_long_as_theory_says() -> None:
    """M/D/1: mean wait = utilisation / (2 (1 - utilisation)) service times."""
    for utilisation in (0.3, 0.6):
        load = workload(utilisation / SERVICE_SEC, 20_000)
        requests = drive(SingleServer(SERVICE_SEC), load, seed=1).requests
        wait_sec = statistics.fmean(one.latency_sec for one in requests) - SERVICE_SEC
        expected = SERVICE_SEC * utilisation / (2 * (1 - utilisation))
        assert wait_sec == pytest.approx(expected, rel=0.1)


def test_latency_counts_from_when_a_request_was_due() -> None:
    """Twice the rate that the server can take: the last request has waited half of the time."""
    load = workload(2 / SERVICE_SEC, 100, burstiness=float("inf"))
    requests = drive(SingleServer(SERVICE_SEC), load, seed=0).requests
    assert requests[-1].latency_sec == pytest.approx(
        100 * SERVICE_SEC - 99 * SERVICE_SEC / 2, rel=0.02
    )


def test_figures_agree_with_a_count_by_hand() -> None:
    load = workload(8.0, 100, goodput={"ttft_sec": 0.1, "tpot_sec": 0.03})
    requests = drive(SingleServer(SERVICE_SEC), load, seed=3).requests
    found = readings(load, requests)
    chosen = requests[10:90]
    ttft = [one.piece_sec[0] - one.due_sec for one in chosen]
    assert found["ttft_sec"] == pytest.approx(ttft)
    assert found["latency_sec"] == pytest.approx([one.piece_sec[3] - one.due_sec for one in chosen])
    assert found["tpot_sec"] == pytest.approx([SERVICE_SEC / 4] * 80)
    assert found["itl_sec"] == pytest.approx([SERVICE_SEC / 4] * 240)
    seconds = requests[90].due_sec - requests[10].due_sec
    good = sum(first <= 0.1 for first in ttft)
    assert 0 < good < 80
    assert found["request_goodput"] == pytest.approx(good / seconds)
    assert found["attainment"] == [float(first <= 0.1) for first in ttft]
    ends = [one.piece_sec[3] for one in requests]
    finished = sum(requests[10].due_sec <= end < requests[90].due_sec for end in ends)
    assert found["request_throughput"] == pytest.approx(finished / seconds)


def test_every_limit_of_an_objective_counts() -> None:
    requests = drive(SingleServer(SERVICE_SEC), workload(1.0, 10), seed=0).requests
    for limit in ("ttft_sec", "tpot_sec", "latency_sec"):
        for bound, met in ((10.0, 1.0), (1e-6, 0.0)):
            load = workload(1.0, 10, goodput=Goodput.model_validate({limit: bound}))
            assert set(readings(load, requests)["attainment"]) == {met}, limit


def test_an_engine_that_keeps_up_has_a_queue_that_does_not_grow() -> None:
    growth = {
        rate: measured(workload(rate))["queue_growth"].value or 0.0
        for rate in (5.0, 8.0, 15.0, 20.0)
    }
    assert abs(growth[5.0]) < 0.02
    assert abs(growth[8.0]) < 0.1
    assert growth[15.0] == pytest.approx(1 / 3, abs=0.1)
    assert growth[20.0] == pytest.approx(1 / 2, abs=0.1)


def test_too_short_a_loop_does_not_say_whether_the_engine_keeps_up() -> None:
    found = measured(workload(1000.0, 20))
    assert found["queue_growth"].value is None
    assert "too few at this rate" in found["queue_growth"].reason
    assert found["latency_sec"].value is not None


def test_a_p99_needs_a_hundred_requests_and_has_no_interval() -> None:
    few, many = measured(workload(5.0, 30), 3), measured(workload(5.0, 60), 3)
    assert "ttft_sec_p99" not in few
    assert "ttft_sec_p90" in few
    p99 = many["ttft_sec_p99"]
    assert (p99.n, p99.ci_low) == (144, None)


def test_one_repetition_has_no_interval() -> None:
    assert measured(workload(5.0, 60), 1)["latency_sec_p90"].ci_low is None


def test_all_requests_good_is_not_certainty() -> None:
    attained = measured(workload(1.0, 50, goodput={"latency_sec": 10}))["attainment"]
    assert attained.value == 1.0
    assert attained.ci_low == pytest.approx(1 - 3.8 / 160, abs=0.01)


@pytest.mark.parametrize("metric", ["latency_sec", "latency_sec_p90", "attainment"])
def test_intervals_over_repetitions_cover_the_truth(metric: str) -> None:
    """At 80 % of the server's capacity, where neighbours wait together."""
    load = workload(8.0, 100, goodput={"latency_sec": 0.25})
    found = [_loop(load, seed) for seed in range(800)]
    pooled = [one for loop in found for one in loop["latency_sec"]]
    good = list(itertools.chain.from_iterable(loop["attainment"] for loop in found))
    truth = {
        "latency_sec": np.quantile(pooled, 0.5),
        "latency_sec_p90": np.quantile(pooled, 0.9),
        "attainment": np.mean(good),
    }[metric]
    covered = 0
    for start in range(0, 800, 4):
        records = summarize(Told("c", "f"), METRICS, found[start : start + 4], OPEN_LOOP)
        one = next(one for one in records if one.metric == metric)
        assert one.ci_low is not None
        assert one.ci_high is not None
        covered += one.ci_low <= truth <= one.ci_high
    assert covered / 200 >= 0.88


def _loop(load: Workload, seed: int) -> dict[str, list[float]]:
    requests = drive(SingleServer(SERVICE_SEC), load, seed=seed).requests
    found = readings(load, requests)
    return {name: found[name] for name in ("latency_sec", "attainment")}  # type: ignore[misc]


def test_growth_is_none_without_enough_requests_to_compare() -> None:
    load = workload(1.0, 2)
    assert queue_growth(load, drive(SingleServer(SERVICE_SEC), load, seed=0).requests) == 0.0
