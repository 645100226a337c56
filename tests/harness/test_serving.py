"""Open loops of a run: what is asked of whom, and what is kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from queued import prepared
from single_server import SingleServer
from small_plans import SUITE, TASKS, unbuilt
from zoo_of_folders import plan_of

from melange.harness.executors.jobs import Drive, Driven, Failed
from melange.harness.lost_causes import LostCauses
from melange.harness.measure.open_loop import drive
from melange.harness.open_loops import OpenLoops
from melange.harness.prepare import Prepared
from melange.harness.progress import Progress
from melange.harness.recorder import Recorder
from melange.harness.records import Measurement, Outcome, Plan, Workload
from melange.harness.requests import Streamed
from melange.harness.runs.current import completed, current
from melange.harness.runs.reader import read_open_loops
from melange.harness.runs.writer import RunFolder

SERVE = Workload.model_validate(
    {"name": "serve@5/s", "prompt_tokens": 4, "output_tokens": 4, "num_requests": 60,
     "request_rate": 5, "goodput": {"ttft_sec": 0.2}, "repetitions": 2}
)  # fmt: skip
NAMES = ("small_base", "large_base")


class Servers:
    """An executor whose engines are single servers."""

    def __init__(self, *broken: str) -> None:
        self.jobs: list[Drive] = []
        self._broken = broken

    def together(self, members: Sequence[Prepared]) -> list[list[Prepared]]:
        return [list(members)]

    def alone(self, job: Drive) -> Driven | Failed:
        self.jobs.append(job)
        if job.load.checkpoint.name in self._broken:
            return Failed("IndexError: 23", engine="broken")
        session = SingleServer(0.1)
        return Driven({one.name: drive(session, one, seed=job.seed) for one in job.workloads})


@pytest.fixture
def plan() -> Plan:
    suite = SUITE.model_copy(update={"workloads": (SERVE,), "candidates": SUITE.candidates[:1]})
    return plan_of(suite, unbuilt(*NAMES), TASKS)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.prepare()
    return run


def run(plan: Plan, folder: RunFolder, servers: Any, *members: Prepared) -> list[Measurement]:
    progress = Progress(plan)
    recorder = Recorder(plan, folder, progress)
    loops = OpenLoops(plan, folder, servers, recorder, progress, LostCauses())
    loops.run(members, before_first=lambda: None)
    return list(current(folder.measurements()))


def member(name: str) -> Prepared:
    return prepared(name, "single", "one shape")


def test_candidates_take_turns_with_the_same_arrivals_in_each_repetition(plan, folder) -> None:
    servers = Servers()
    run(plan, folder, servers, *map(member, NAMES))
    assert [(job.load.checkpoint.name, job.seed) for job in servers.jobs] == [
        ("small_base", 0), ("large_base", 0), ("small_base", 1), ("large_base", 1),
    ]  # fmt: skip


def test_figures_follow_from_the_requests_that_are_kept(plan, folder) -> None:
    found = {one.metric: one for one in run(plan, folder, Servers(), member("small_base"))}
    lines = read_open_loops(folder.path / "open_loops.jsonl")
    assert [one.repetition for one in lines] == [0, 1]
    kept = [
        Streamed(*one)
        for line in lines
        for one in list(
            zip(line.due_sec, line.sent_sec, line.piece_sec, line.num_tokens, strict=True)
        )[6:54]
    ]
    firsts = sorted(one.ttft_sec for one in kept)
    assert found["ttft_sec"].value == pytest.approx((firsts[47] + firsts[48]) / 2, abs=2e-6)
    assert found["attainment"].value == sum(first <= 0.2 for first in firsts) / 96
    assert found["attainment"].n == 96


def test_the_cell_is_not_done_before_its_speed_is(plan, folder) -> None:
    run(plan, folder, Servers(), member("small_base"))
    assert ("small_base", None) not in completed(current(folder.measurements()))


def test_a_candidate_that_breaks_has_the_reason_and_costs_no_other(plan, folder) -> None:
    found = run(plan, folder, Servers("small_base"), *map(member, NAMES))
    (broken,) = [one for one in found if one.candidate == "small_base"]
    assert (broken.outcome, broken.workload) == (Outcome.FAILED, "serve@5/s")
    assert broken.reason == "IndexError: 23"
    assert any(one.candidate == "large_base" and one.value is not None for one in found)


def test_what_is_served_in_turn_says_why_it_has_no_figures(plan, folder) -> None:
    one = member("small_base")
    panel: Any = object()
    composite = one._replace(load=one.load._replace(panel=panel))
    servers = Servers()
    (said,) = run(plan, folder, servers, composite)
    assert said.outcome is Outcome.SKIPPED
    assert "served in turn" in said.reason
    assert servers.jobs == []


def test_an_engine_that_does_not_keep_up_says_so_beside_every_figure(plan, folder) -> None:
    fast = SERVE.model_copy(update={"name": "serve@20/s", "request_rate": 20.0})
    suite = plan.suite.model_copy(update={"workloads": (fast,)})
    faster = plan.model_copy(update={"suite": suite})
    found = run(faster, folder, Servers(), member("small_base"))
    assert all("does not keep up with 20 requests/s" in one.reason for one in found)
    assert all(one.value is not None for one in found)


def test_a_workload_that_does_not_fit_the_context_is_cut_and_says_so(plan, folder) -> None:
    long = SERVE.model_copy(update={"prompt_tokens": 40})
    suite = plan.suite.model_copy(update={"workloads": (long,)})
    found = run(plan.model_copy(update={"suite": suite}), folder, Servers(), member("small_base"))
    assert {one.workload for one in found} == {"serve@5/s (cut to 4/4)"}
