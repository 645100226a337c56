"""Whatever gets worse in the rounds or the records at the same throughput is named."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from compared_runs import compared
from comparison_run import (
    REFERENCE,
    measurements,
    timed,
    write_rounds,
)
from report_run import write_lines

from melange.harness.metrics import METRICS
from melange.reports.analysis.comparison import Kind, Verdict


def edit_rounds(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "rounds.jsonl"
    lines = [json.loads(line) for line in path.open()]
    for line in lines:
        change(line)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def vary(folder: Path) -> None:
    """Latencies, rates and energy that differ from round to round."""
    draw = random.Random(str(folder))

    def change(line: dict[str, Any]) -> None:
        for name in ("ttft_sec", "latency_sec", "tpot_sec"):
            line[name] = [one * (1 + draw.random() / 50) for one in line[name] * 4]
        line["decode_tokens_per_sec"] *= 1 + draw.random() / 50
        line["energy_joules"] = 50 + draw.random()

    edit_rounds(folder, change)


def worsened(*names: str, factor: float, candidate: str = "") -> Callable[[dict[str, Any]], None]:
    def change(line: dict[str, Any]) -> None:
        for name in names:
            if candidate in ("", line["candidate"]):
                value = line[name]
                line[name] = (
                    [one * factor for one in value] if isinstance(value, list) else value * factor
                )

    return change


@pytest.mark.parametrize(
    ("names", "factor", "titles"),
    [
        (["ttft_sec"], 2.0, {"TTFT", "TTFT p90"}),
        (["ttft_sec", "tpot_sec", "latency_sec"], 3.0,
         {"TTFT", "TTFT p90", "TPOT", "TPOT p90", "Latency", "Latency p90"}),
        (["decode_tokens_per_sec"], 0.5, {"Decode"}),
        (["energy_joules"], 3.0, {"Energy"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("who", [REFERENCE, ""])
def test_what_gets_worse_at_the_same_throughput_is_named(pair, names, factor, titles, who):
    for folder in pair:
        vary(folder)
    assert compared(pair).regressions == []
    edit_rounds(pair[1], worsened(*names, factor=factor, candidate=who))
    comparison = compared(pair)
    named = who or "all candidates"
    assert {one.title for one in comparison.regressions} == {f"{named}: {one}" for one in titles}
    assert {one.kind for one in comparison.regressions} == {Kind.TIMING}
    assert comparison.improvements == []


def test_a_candidate_that_is_slow_in_half_of_its_rounds_is_named(pair):
    for seed, folder in enumerate(pair):
        write_rounds(folder, seed=seed, rounds=24)
    assert compared(pair).regressions == []
    victim, draw = timed(pair[1])[3], random.Random(0)

    def change(line: dict[str, Any]) -> None:
        if line["candidate"] == victim and draw.random() < 0.5:
            line["wall_sec"] *= 1.5

    edit_rounds(pair[1], change)
    comparison = compared(pair)
    assert {one.kind for one in comparison.regressions} == {Kind.STEADINESS}
    assert comparison.regressions[0].title == f"the disturbed rounds of {victim}"


def test_a_quantity_that_the_rounds_no_longer_have_is_not_judged(pair):
    edit_rounds(pair[1], lambda line: line.update(tpot_sec=[]))
    found = [one for one in compared(pair).of(Kind.TIMING) if one.subject == "tpot_sec"]
    assert found
    assert {one.verdict for one in found} == {Verdict.UNJUDGED}
    assert {one.reason for one in found} == {"this run's rounds do not have it, or too few of them"}


@pytest.mark.parametrize(
    ("metric", "factor"),
    [("peak_activation_bytes", 5), ("kv_pool_bytes", 2), ("build_sec", 10), ("total_params", 1.01),
     ("device_memory_bytes", 1.2)],
)  # fmt: skip
def test_what_is_measured_once_may_not_grow_beyond_its_tolerance(pair, metric, factor):
    for folder in pair:
        lines = [line for line in measurements(folder) if line["metric"] != metric]
        base = next(line for line in lines if line["metric"] == "weights_bytes")
        write_lines(folder, [*lines, base | {"metric": metric, "value": 1000.0}])
    assert compared(pair).regressions == []
    lines = measurements(pair[1])
    lines[-1]["value"] *= factor
    write_lines(pair[1], lines)
    (found,) = compared(pair).regressions
    assert found.subject == metric


def test_every_metric_is_judged_or_says_why_not():
    for metric in METRICS:
        assert (metric.tolerance is None) == bool(metric.ungated), metric.name
