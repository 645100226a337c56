"""Speeds within a run: units, rounds until they are known, and ratios that drift cannot move."""

from collections import Counter
from pathlib import Path

import pytest
from simulated_timing import WORKLOADS, member, noisy, time_all

from melange.harness.records import Measurement, Outcome
from melange.harness.runs.current import current
from melange.harness.runs.reader import read_rounds
from melange.harness.runs.writer import RunFolder
from melange.harness.timing.stopping import LEAST_ROUNDS

MERGES = [member(name, "large") for name in ("base", "ties", "slerp", "soup")]
SMALL = [member(name, "small") for name in ("small", "tuned")]
MIX = member("mix", "two models")
MEMBERS = [*MERGES, *SMALL, MIX]
SECONDS = {one.candidate.name: 1.0 for one in MERGES} | {"small": 0.5, "tuned": 0.5, "mix": 2.0}


def ratios(folder: Path) -> dict[tuple[str, str | None], Measurement]:
    held = current(RunFolder(folder).measurements())
    return {(m.candidate, m.workload): m for m in held if m.metric == "relative_throughput"}


def test_candidates_of_equal_kernels_share_rounds_and_results(tmp_path: Path) -> None:
    machine, rounds = time_all(tmp_path, MEMBERS, noisy(SECONDS, noise=0.02))
    visits = Counter(name for name, _ in machine.visits)
    assert visits["small"] + visits["tuned"] >= LEAST_ROUNDS
    assert abs(visits["small"] - visits["tuned"]) <= 1
    assert max(visits[one] for one in ("ties", "slerp", "soup")) < visits["mix"]
    assert rounds.measured_as == dict.fromkeys(("base", "ties", "slerp", "soup"), "base") | {
        "small": "small",
        "tuned": "small",
    }
    held = [one for one in current(RunFolder(tmp_path).measurements()) if one.workload]
    told = {name: {} for name in SECONDS}  # type: ignore[var-annotated]
    for one in held:
        told[one.candidate][one.metric, one.workload] = (one.value, one.ci_low, one.ci_high, one.n)
    assert told["small"] == told["tuned"]
    assert told["base"] == told["soup"]
    number = {one.candidate: one.num_candidates for one in held}
    assert (number["small"], number["base"], number["mix"]) == (2, 4, None)


def test_a_round_is_kept_once_by_who_was_timed_and_whose_it_is(tmp_path: Path) -> None:
    machine, _ = time_all(tmp_path, MEMBERS, noisy(SECONDS, noise=0.02))
    lines = read_rounds(tmp_path / "rounds.jsonl")
    assert len(lines) == sum(len(workloads) for _, workloads in machine.visits)
    assert {one.unit for one in lines} == {"base", "small", "mix"}
    assert {one.candidate for one in lines} == set(SECONDS)
    assert len({one.sitting for one in lines}) == 1
    assert len({(one.unit, one.workload, one.round, one.visit) for one in lines}) == len(lines)


def test_drift_and_disturbed_rounds_do_not_move_ratios(tmp_path: Path) -> None:
    time_all(tmp_path, MEMBERS, noisy(SECONDS, noise=0.02))
    found = ratios(tmp_path)
    for workload in (one.name for one in WORKLOADS):
        assert found["base", workload].value == found["ties", workload].value == 1.0
        assert found["small", workload].value == pytest.approx(2.0, rel=0.05)
        assert found["mix", workload].value == pytest.approx(0.5, rel=0.05)


def test_rounds_go_on_only_for_what_is_not_known(tmp_path: Path) -> None:
    restless = noisy(SECONDS, noise=0.3)

    def seconds(candidate: str, workload: str, visits: int) -> float | str:
        if (candidate, workload) == ("mix", "b"):
            return restless(candidate, workload, visits)
        return SECONDS[candidate]

    machine, _ = time_all(tmp_path, MEMBERS, seconds, rounds=20)
    of_mix = [workloads for name, workloads in machine.visits if name == "mix"]
    assert len(of_mix) > LEAST_ROUNDS
    assert of_mix[-1] == ["b"]
    assert machine.visits[-1][1] == ["b"]
    assert sum(name in ("small", "tuned") for name, _ in machine.visits) < len(of_mix)


def test_a_budget_that_is_spent_ends_rounds_and_says_what_is_not_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine, _ = time_all(
        tmp_path, MEMBERS, noisy(SECONDS, noise=0.3), speed_budget_sec=1e-6, rounds=20
    )
    assert sum(name == "mix" for name, _ in machine.visits) == 1
    assert "1 round, speed_budget_sec is spent: 4 speeds not known to 5%" in capsys.readouterr().out
    assert ratios(tmp_path)["mix", "a"].ci_low is None


def test_a_member_that_fails_costs_its_own_cells_alone(tmp_path: Path) -> None:
    def seconds(candidate: str, workload: str, visits: int) -> float | str:
        return "NaN in its weights" if candidate == "ties" else SECONDS[candidate]

    _, rounds = time_all(tmp_path, MEMBERS, seconds)
    held = current(RunFolder(tmp_path).measurements())
    assert {one.candidate for one in held if one.outcome is Outcome.FAILED} == {"ties"}
    assert "ties" not in rounds.measured_as
    assert ratios(tmp_path)["soup", "a"].value == 1.0


def test_without_its_reference_a_run_has_speeds_but_no_ratios(tmp_path: Path) -> None:
    def seconds(candidate: str, workload: str, visits: int) -> float | str:
        return "broken" if candidate == "base" else SECONDS[candidate]

    time_all(tmp_path, [MERGES[0], *SMALL, MIX], seconds)
    assert ratios(tmp_path) == {}
    held = current(RunFolder(tmp_path).measurements())
    speeds = {one.candidate for one in held if one.metric == "total_tokens_per_sec"}
    assert speeds == {"small", "tuned", "mix"}


def test_a_run_that_is_compared_times_all_equally_often(tmp_path: Path) -> None:
    machine, _ = time_all(
        tmp_path, MEMBERS, noisy(SECONDS, noise=0.01), target_relative_error=0.5, rounds=40
    )
    lines = read_rounds(tmp_path / "rounds.jsonl")
    rounds = {unit: {one.round for one in lines if one.unit == unit} for unit in ("base", "mix")}
    assert rounds["base"] == rounds["mix"] == set(range(8))
    assert {tuple(workloads) for _, workloads in machine.visits} == {("a", "b")}


def test_the_reference_alone_is_timed_until_its_own_speed_is_known(tmp_path: Path) -> None:
    machine, _ = time_all(tmp_path, MERGES[:1], lambda *_: 1.0)
    assert len(machine.visits) == LEAST_ROUNDS
    assert ratios(tmp_path)["base", "a"].n == LEAST_ROUNDS
