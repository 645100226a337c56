"""Energy is read from the driver's counter for the right GPU, or missing with a reason."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pynvml
import pytest
from report_run import Shape, write_run
from timed_rounds import prepared, timed

from melange.harness.costs import cost_records, round_line
from melange.harness.executors.jobs import Timed
from melange.harness.measure import energy
from melange.harness.measure.metric import Watched
from melange.harness.prepare import Prepared
from melange.harness.records import EngineShape, Workload
from melange.harness.runs.writer import RunFolder
from melange.reports.analysis.run import load_run

IDLE_MJ, BUSY_MJ = 5_000_000, 5_002_500
NO_COUNTER = "NVML has no energy counter for this GPU: Not Supported"
LOAD = Workload(name="8/8", prompt_tokens=8, output_tokens=8, num_requests=2)


class Driver:
    """NVML's functions over three GPUs, or one error for all of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, code: int | None = None) -> None:
        self.millijoules = {"0": IDLE_MJ, "1": IDLE_MJ, "GPU-c": IDLE_MJ}
        self.code = code
        monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: str(index))
        monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", lambda uuid: uuid)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", self.read)

    def read(self, handle: str) -> int:
        if self.code is not None:
            raise pynvml.NVMLError(self.code)
        return self.millijoules[handle]


def read(driver: Driver | None, device: str = "cuda", *, gpu: str = "0") -> Mapping[str, Any]:
    """The readings of a round of 4 output tokens that keeps this GPU busy."""
    session: Any = None
    watched = Watched(session, device)
    with energy.watch(watched):
        if driver is not None:
            driver.millijoules[gpu] += BUSY_MJ - IDLE_MJ
        watched.rounds.append(timed(1.0).rounds["8/8"])
    return watched.readings


def test_millijoules_of_the_driver_are_joules_of_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(Driver(monkeypatch))
    assert found == {"energy_joules": 2.5, "joules_per_token": 2.5 / 4}


@pytest.mark.parametrize(("visible", "gpu"), [("1,0", "1"), ("GPU-c", "GPU-c"), ("", "0")])
def test_the_gpu_is_the_one_that_cuda_sees_first(
    monkeypatch: pytest.MonkeyPatch, visible: str, gpu: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert read(Driver(monkeypatch), gpu=gpu)["energy_joules"] == 2.5


def test_a_gpu_without_the_counter_is_a_reason_and_no_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = read(Driver(monkeypatch, code=pynvml.NVML_ERROR_NOT_SUPPORTED))
    assert found == {"joules_per_token": NO_COUNTER}


def test_no_driver_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", absent)
    assert "NVML Shared Library Not Found" in read(None)["joules_per_token"]


def test_a_cpu_asks_no_driver_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(pynvml, "nvmlInit")
    assert read(None, "cpu") == {}


def test_a_counter_that_stood_still_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    Driver(monkeypatch)
    assert read(None) == {}


def with_energy(*joules: float | str) -> list[Timed]:
    """Rounds with these joules per token."""
    one = timed(1.0).rounds["8/8"]
    readings = [{**one.readings, "joules_per_token": read} for read in joules]
    return [Timed({"8/8": one._replace(readings=each)}, {}) for each in readings]


def on_gpu(name: str) -> Prepared:
    return prepared(name)._replace(shape=EngineShape(signature="s", max_model_len=8, device="cuda"))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_report_says_why_there_is_no_energy(tmp_path: Path, device: str) -> None:
    run = write_run(tmp_path, Shape(candidates=2, tasks=1))
    manifest = json.loads((run / "manifest.json").read_text()) | {"device": device}
    (run / "manifest.json").write_text(json.dumps(manifest))
    if device == "cuda":
        RunFolder(run).append(cost_records(on_gpu("base"), with_energy("no counter"), []))
    found = load_run(run).read("base", "joules_per_token", workload="8/8")
    expected = ("unneeded", "CPU") if device == "cpu" else ("skipped", "no counter")
    assert (found.value, found.outcome) == (None, expected[0])
    assert expected[1] in found.reason


def test_energy_is_told_by_output_token_with_an_interval_over_rounds() -> None:
    rounds = [*with_energy(0.5, 1.0), timed(1.0)]
    records = cost_records(prepared("soup"), rounds, [])
    found = {one.metric: one for one in records}["joules_per_token"]
    assert (found.value, found.n, found.unit) == (0.75, 2, "J/token")
    assert found.ci_low == 0.0  # from two rounds, 0 is the only lower bound
    assert found.higher_is_better is False


def test_rounds_keep_their_energy() -> None:
    one = timed(1.0).rounds["8/8"]
    first = one._replace(readings={**one.readings, "energy_joules": 2.0})
    lines = [
        round_line(Timed({"8/8": each}, {}), "8/8", None, candidate="soup", round=0)
        for each in (first, one)
    ]
    assert [one.energy_joules for one in lines] == [2.0, None]


def test_a_gpu_says_why_it_tells_no_energy_and_a_cpu_need_not() -> None:
    def told(rounds: list[Timed]) -> list[tuple[object, ...]]:
        records = cost_records(on_gpu("soup"), rounds, [])
        energy = [one for one in records if one.metric == "joules_per_token"]
        return [(one.workload, one.value, one.outcome, one.reason) for one in energy]

    assert told(with_energy(NO_COUNTER, NO_COUNTER)) == [("8/8", None, "skipped", NO_COUNTER)]
    assert told([timed(1.0)]) == []
