"""Workloads that were cut to a context say so in their names, also in runs of earlier versions."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from report_run import Shape, write_run
from timed_rounds import prepared, timed

from melange.harness.costs import cost_records, round_line
from melange.harness.executors.jobs import Timed
from melange.harness.records import EngineShape, Plan, Suite, Workload
from melange.harness.runs.identity import GONE, withdrawn
from melange.harness.runs.manifest import Manifest
from melange.harness.runs.manifest_content import Inputs, RunState, make_manifest
from melange.harness.runs.reader import read_rounds, read_run
from melange.reports.analysis.run import load_run

LONG = Workload(name="8/512", prompt_tokens=8, output_tokens=512, num_requests=4)
CUT = "8/512 (cut to 8/248)"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", Shape(candidates=2, tasks=2, examples=4))


def change_manifest(run: Path, **changes: Any) -> None:
    path = run / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def workloads_of(run: Path, output_tokens: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((run / "manifest.json").read_text())["workloads"]
    for one in found:
        if one["name"] == "8/512":
            one["output_tokens"] = output_tokens
    return found


def test_a_cut_workload_has_another_name() -> None:
    cut = LONG.cut_to(256)
    assert (cut.name, cut.asked_as) == (CUT, "8/512")
    assert cut.cut_to(128).name == "8/512 (cut to 8/120)"
    assert LONG.cut_to(1024) == LONG


def test_throughput_relative_to_other_lengths_is_refused_with_the_reason() -> None:
    mine, reference = (Timed({name: timed(1.0).rounds["8/8"]}, {}) for name in (CUT, "8/512"))
    found = {one.metric: one for one in cost_records(prepared("soup"), [mine], [reference])}
    assert found["relative_throughput"].value is None
    assert found["relative_throughput"].reason == "the reference ran other lengths: 8/512"
    assert found["relative_throughput"].workload == CUT
    assert found["total_tokens_per_sec"].value is not None


def test_the_manifest_names_every_length_that_ran() -> None:
    shapes = {
        str(length): EngineShape(signature="s", max_model_len=length) for length in (256, 1024)
    }
    suite = Suite(name="s", tasks={}, candidates=(), workloads=(LONG,))
    plan = Plan(suite=suite, zoo="z", scale="pocket", tasks=(), candidates=(), cells=(),
                limit=None, seed=0, device="cpu")  # fmt: skip
    now = datetime.now(UTC)
    state = RunState(command=[], inputs=Inputs({}, {}, {}), timings={}, started=now, finished=now,
                     engines=shapes)  # fmt: skip
    found = Manifest.model_validate(make_manifest(plan, None, state))
    assert [one.name for one in found.workloads] == ["8/512", CUT]


def test_a_run_that_did_not_name_its_cuts_is_read_as_if_it_had(run: Path) -> None:
    change_manifest(run, workloads=workloads_of(run, 248))
    once = Timed({"8/512": timed(1.0).rounds["8/8"]}, {})
    line = round_line(once, "8/512", None, candidate="base", round=0)
    (run / "rounds.jsonl").write_text(line.model_dump_json() + "\n")
    stored = read_run(run)
    named = {one.workload for one in stored.measurements if one.workload}
    assert CUT in named
    assert "8/512" not in named
    assert CUT in {one.name for one in stored.manifest.workloads}
    assert [one.workload for one in read_rounds(run / "rounds.jsonl")] == [CUT]


def test_where_both_lengths_ran_names_stay(run: Path) -> None:
    whole = workloads_of(run, 448)
    cut = LONG.cut_to(256).model_dump(mode="json")
    change_manifest(run, workloads=[*whole, cut])
    found = load_run(run)
    assert "8/512" in {one.workload for one in found.measurements}
    assert list(found.workloads)[-1] == CUT
    missing = found.read("base", "total_tokens_per_sec", workload=CUT)
    assert missing.reason == "it ran other lengths: 8/512"


def test_a_withdrawn_cut_is_not_called_gone(run: Path) -> None:
    change_manifest(run, workloads=workloads_of(run, 248))
    lines = read_run(run).measurements
    found = withdrawn(lines, {("base", None): "changed"}, ["8/512"])
    reasons = {one.workload: one.reason for one in found if one.workload}
    assert reasons[CUT] == "changed"
    assert GONE in reasons.values()
