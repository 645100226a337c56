"""Rounds are read back as they were timed, even if the run was interrupted."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timed_rounds import timed

from melange.harness.costs import round_line
from melange.harness.errors import HarnessError
from melange.harness.records import SCHEMA_VERSION
from melange.harness.round_line import RoundLine
from melange.harness.runs.reader import read_rounds
from melange.harness.runs.writer import RunFolder

seconds = st.floats(0, 1e6)
several = st.lists(seconds, max_size=3).map(tuple)
lines = st.builds(
    RoundLine,
    candidate=st.text(max_size=8),
    workload=st.sampled_from(["8/8", "mixed"]),
    round=st.just(0),
    wall_sec=seconds,
    prefill_tokens_per_sec=seconds,
    decode_tokens_per_sec=st.none() | seconds,
    ttft_sec=several,
    latency_sec=several,
    tpot_sec=several,
    reference_wall_sec=st.none() | seconds,
    calibration_sec=st.none() | seconds,
    energy_joules=st.none() | seconds,
)


def line(candidate: str = "soup", number: int = 0, **fields: object) -> RoundLine:
    values: dict[str, object] = {
        "workload": "8/8",
        "started": "2024-01-31T10:00:00.000+00:00",
        "prompt_tokens": 8,
        "output_tokens": 8,
        "wall_sec": 1.0,
        "prefill_tokens_per_sec": 8.0,
        "decode_tokens_per_sec": 7.0,
        "ttft_sec": (0.1,),
        "latency_sec": (1.0,),
        "tpot_sec": (0.1,),
    }
    return RoundLine(candidate=candidate, round=number, **values | fields)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.prepare()
    return run


def read(folder: RunFolder) -> list[RoundLine]:
    return read_rounds(folder.path / "rounds.jsonl")


@given(written=st.lists(lines, unique_by=lambda one: (one.candidate, one.workload)))
def test_rounds_come_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, written: list[RoundLine]
) -> None:
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    folder.append_rounds(written)
    assert read(folder) == written


def test_a_candidate_timed_again_loses_its_earlier_rounds_and_no_others(folder: RunFolder) -> None:
    folder.append_rounds([line("soup", number) for number in range(3)])
    folder.append_rounds([line("ties", number) for number in range(3)])
    again = [line("soup", number, wall_sec=2.0) for number in range(2)]
    folder.append_rounds(again)
    assert [one for one in read(folder) if one.candidate == "soup"] == again
    assert len([one for one in read(folder) if one.candidate == "ties"]) == 3


def test_a_line_cut_short_is_left_out_and_the_next_starts_its_own(folder: RunFolder) -> None:
    folder.append_rounds([line("soup"), line("ties")])
    path = folder.path / "rounds.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert [one.candidate for one in read(folder)] == ["soup"]
    folder.prepare()
    folder.append_rounds([line("slerp")])
    assert [one.candidate for one in read(folder)] == ["soup", "slerp"]


def test_a_run_without_rounds_has_none(folder: RunFolder) -> None:
    assert read(folder) == []


def test_a_newer_schema_is_refused(folder: RunFolder) -> None:
    content = json.loads(line().model_dump_json()) | {"schema_version": SCHEMA_VERSION + 1}
    (folder.path / "rounds.jsonl").write_text(json.dumps(content) + "\n")
    with pytest.raises(HarnessError, match="has schema 3; this version reads up to 2"):
        read(folder)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"wall_sec": -1}, "wall_sec"), ({"round": "second"}, "round"), ({"speed": 3}, "speed")],
)
def test_a_line_that_is_no_round_is_named(
    folder: RunFolder, change: dict[str, object], complaint: str
) -> None:
    broken = json.dumps(json.loads(line().model_dump_json()) | change)
    (folder.path / "rounds.jsonl").write_text(f"{line().model_dump_json()}\n{broken}\n")
    with pytest.raises(HarnessError, match=f"rounds.jsonl line 2: {complaint}"):
        read(folder)


def test_a_unit_timed_again_loses_the_rounds_of_all_its_members(folder: RunFolder) -> None:
    def turn(number: int, **fields: object) -> RoundLine:
        return line(("soup", "ties")[number % 2], number, measured_as="soup", **fields)

    folder.append_rounds([turn(number) for number in range(4)])
    folder.append_rounds([line("ties")])  # on its own, in another sitting
    again = [turn(number, wall_sec=2.0) for number in range(2)]
    folder.append_rounds(again)
    assert [one for one in read(folder) if one.unit == "soup"] == again
    assert [one for one in read(folder) if one.unit == "ties"] == [line("ties")]


def test_visits_of_the_reference_in_one_round_are_all_kept(folder: RunFolder) -> None:
    visits = [line("base", number, visit=visit) for number in (0, 1) for visit in (0, 1)]
    folder.append_rounds(visits)
    assert read(folder) == visits


# The runner's output


def test_a_line_has_the_readings_of_its_round_and_the_reference_beside_it() -> None:
    found = round_line(timed(2), "mixed", timed(1), candidate="soup", round=3)
    assert (found.candidate, found.workload, found.round) == ("soup", "mixed", 3)
    assert (found.wall_sec, found.reference_wall_sec) == (2, 1)
    assert found.ttft_sec == (0.1, 0.2)
    assert found.latency_sec == (0.1, 0.6)
    assert found.tpot_sec == (pytest.approx(0.2),)
    assert found.calibration_sec == 0.01


def test_a_reference_that_broke_is_no_reference() -> None:
    assert round_line(timed(2), "8/8", None, candidate="soup", round=0).reference_wall_sec is None
