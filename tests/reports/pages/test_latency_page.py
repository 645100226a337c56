"""The latency page: percentiles with what they rest on, and requests that arrive at a rate."""

import json
from pathlib import Path

import pytest
from rendered import text_of
from report_run import Shape, write_run
from single_server import SingleServer

from melange.harness.measure.open_loop import drive
from melange.harness.measure.summaries import Told
from melange.harness.open_loops import loop_records
from melange.harness.records import Workload
from melange.harness.round_line import RoundLine
from melange.reports.analysis.run import load_run
from melange.reports.analysis.serving import highest_rate, rate_ladders
from melange.reports.pages.latency import latency, serving
from melange.reports.render import render
from melange.reports.view import RunView

RATES = (2.0, 4.0, 8.0, 16.0)
SLOW, FAST = 0.1, 0.01
"""Seconds of the two candidates' single servers for a request."""


def at_rate(rate: float) -> Workload:
    return Workload.model_validate(
        {"name": f"serve@{rate:g}/s", "prompt_tokens": 4, "output_tokens": 4, "num_requests": 100,
         "request_rate": rate, "goodput": {"ttft_sec": 0.2}}
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two candidates that are single servers, and one batch in lockstep."""
    folder = write_run(
        tmp_path_factory.mktemp("latency") / "run", Shape(candidates=2, tasks=2, examples=4)
    )
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["workloads"] += [at_rate(rate).model_dump(mode="json") for rate in RATES]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    families = {one["name"]: one["family"] for one in manifest["candidates"]}
    with (folder / "measurements.jsonl").open("a") as lines:
        for (name, family), service_sec in zip(families.items(), (SLOW, FAST), strict=True):
            for rate in RATES:
                load = at_rate(rate)
                loops = [drive(SingleServer(service_sec), load, seed=seed) for seed in range(4)]
                for one in loop_records(Told(name, family, load.name), load, loops):
                    lines.write(one.model_dump_json() + "\n")
    with (folder / "rounds.jsonl").open("w") as lines:
        for name in families:
            for number in range(3):
                lines.write(lockstep(name, number).model_dump_json() + "\n")
    return folder


def lockstep(candidate: str, number: int) -> RoundLine:
    times = tuple(1 + number / 10 + at * 1e-4 for at in range(8))
    return RoundLine(
        candidate=candidate, workload="8/512", round=number, started="", prompt_tokens=64,
        output_tokens=64, wall_sec=2, prefill_tokens_per_sec=1, decode_tokens_per_sec=1,
        ttft_sec=times, latency_sec=times, tpot_sec=times,
    )  # fmt: skip


@pytest.fixture(scope="module")
def view(run: Path) -> RunView:
    return RunView(load_run(run))


def test_percentiles_of_a_lockstep_are_left_out_with_the_reason(view: RunView) -> None:
    block = latency.block(view, "")
    assert block is not None
    table = next(one for one in block.data["tables"] if one["workload"] == "8/512")
    assert {row.count for row in table["rows"]} == {"8 × 3 rounds"}
    assert table["notes"] == [latency.LOCKSTEP]
    for row in table["rows"]:
        for spread in row.spreads:
            assert spread.p50.value is not None
            assert spread.p90.value is spread.p99.value is None
            assert "8 requests sent at once take 1 different time;" in spread.p99.reason


def test_a_run_without_rounds_claims_no_more_than_its_requests_allow(view: RunView) -> None:
    found = view.tails.read("base", "latency_sec", "p99", "mixed")
    assert found.outcome == "unclaimed"


def test_the_highest_rate_is_the_last_before_the_first_that_fails(view: RunView) -> None:
    (ladder,) = rate_ladders(view.run)
    assert [load.request_rate for load in ladder] == [*RATES]
    slow, fast = (highest_rate(view.run, name, ladder) for name in view.run.families)
    assert fast.value == 16.0
    assert fast.reason == "the highest rate that was tried"
    assert slow.value == 4.0
    assert slow.low is not None
    assert slow.high is not None
    assert slow.low <= 4.0 <= slow.high <= 8.0


def test_an_engine_that_does_not_keep_up_is_said_to_by_rate(view: RunView) -> None:
    block = serving.tables(view, "")
    assert block is not None
    rates = next(table for name, table in block.tables.items() if name.endswith("-rates"))
    said = next(column for column in rates.columns if column.name == "keeps_up")
    words = {(row.candidate, row.load.request_rate): said.value(row) for row in rates.rows}
    assert words["base", 4.0] == "yes"
    assert words["base", 16.0].startswith("no: queue grows by 0.")


def test_the_page_shows_both(run: Path) -> None:
    report = render(run).parent
    text = text_of(report / "latency.html")
    assert "Highest rate" in text
    assert "TTFT p90 over requests per second" in text
    assert "need an open-loop workload" in text
    assert (report / "data" / "serving-serve-4-4-highest-rate.csv").exists()
