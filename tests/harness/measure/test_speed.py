"""Metrics of a round's timings, and summaries of several rounds."""

import statistics
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psutil import Process
from timed_rounds import prepared, with_readings

from melange.harness.costs import cost_records
from melange.harness.executors.jobs import Timed
from melange.harness.measure.calibration import calibration_sec
from melange.harness.measure.speed import Round, time_workload
from melange.harness.records import Measurement, Workload
from melange.harness.requests import Completion, Generation, Timing

seconds = st.floats(1e-3, 10)
timings = st.tuples(seconds, seconds).map(lambda pair: Timing(pair[0], sum(pair)))


@st.composite
def rounds(draw: st.DrawFn) -> Round:
    requests = draw(st.lists(st.tuples(timings, st.integers(1, 9)), min_size=1, max_size=5))
    lengths = [length for _, length in requests]
    drawn = Round(
        started="2024-01-31T10:00:00.000+00:00",
        prompt_tokens=8 * len(requests),
        output_tokens=sum(lengths),
        wall_sec=max(timing.last_token_sec for timing, _ in requests),
        timings=[timing for timing, _ in requests],
        output_lengths=lengths,
    )
    return with_readings(drawn)


some_rounds = st.lists(rounds(), min_size=1, max_size=4)


def by_metric(measured: list[Round]) -> dict[str, Measurement]:
    timed = [Timed({"8/8": one}, {}) for one in measured]
    found = cost_records(prepared("soup"), timed, timed)
    return {one.metric: one for one in found}


@given(some_rounds)
def test_medians_are_of_all_requests_and_few_have_no_other_percentile(
    measured: list[Round],
) -> None:
    found = by_metric(measured)
    for name in ("ttft_sec", "latency_sec", "tpot_sec"):
        values = [value for one in measured for value in one.readings[name]]
        if not values:
            assert name not in found
            continue
        half = found[name]
        assert half.value == pytest.approx(statistics.median(values))
        assert half.n == len(values)
        assert half.ci_low is None  # concurrent requests are not independent
        # A round of five requests has no tenth that took longer than the others.
        assert not {f"{name}_p90", f"{name}_p99"} & found.keys()


@given(some_rounds)
def test_a_request_of_one_token_has_no_time_per_token(measured: list[Round]) -> None:
    found = by_metric(measured)
    longer = sum(length > 1 for one in measured for length in one.output_lengths)
    assert ("tpot_sec" in found) == (longer > 0)


@given(some_rounds)
def test_request_throughput_is_a_geometric_mean_over_few_rounds(measured: list[Round]) -> None:
    found = by_metric(measured)["request_throughput"]
    assert found.value == pytest.approx(
        statistics.geometric_mean(len(one.timings) / one.wall_sec for one in measured)
    )
    assert found.n == len(measured)
    assert (found.ci_low is None) == (len(measured) == 1)
    assert found.higher_is_better


class Echo:
    """Answers each prompt with as many tokens as were asked for."""

    max_model_len = 64

    def clock(self) -> float:
        return time.perf_counter()

    def generate(self, generations: list[Generation]) -> list[Completion]:
        return [Completion("", (7,) * one.max_tokens, Timing(0.1, 0.5)) for one in generations]


def test_a_round_counts_what_was_sent_and_what_came_back() -> None:
    asked = [Generation((5, 6, 7), 4), Generation((5,), 1)]
    found = time_workload(Echo(), asked)
    assert (found.prompt_tokens, found.output_tokens) == (4, 5)
    assert with_readings(found).readings["tpot_sec"] == (pytest.approx(0.4 / 3),)
    assert found.started.endswith("+00:00")


def test_the_calibration_takes_some_milliseconds() -> None:
    assert 1e-4 < calibration_sec("cpu") < 5


def test_the_calibration_gives_back_what_it_allocates() -> None:
    calibration_sec("cpu")
    before = Process().memory_info().rss
    calibration_sec("cpu")
    assert Process().memory_info().rss - before < 8 << 20


@pytest.mark.parametrize(
    ("asked", "fitted"),
    [
        ((8, 8), (8, 8)),
        ((8, 512), (8, 248)),
        ((512, 8), (248, 8)),
        ((512, 512), (128, 128)),
        ((200, 512), (128, 128)),
        ((256, 256), (128, 128)),
    ],
)
def test_a_workload_fits_the_context_on_both_sides(
    asked: tuple[int, int], fitted: tuple[int, int]
) -> None:
    prompt, output = asked
    workload = Workload(name="w", prompt_tokens=prompt, output_tokens=output, num_requests=1)
    cut = workload.cut_to(256)
    assert (cut.prompt_tokens, cut.output_tokens) == fitted
