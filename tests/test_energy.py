"""Energy is what the driver's counter says of the right GPU, or a reason."""

import json
from pathlib import Path

import pynvml
import pytest
from report_run import Shape, write_run
from test_rounds import prepared, timed

from melange.harness.costs import missing_energy, round_lines
from melange.harness.executors.jobs import Timed
from melange.harness.measure.energy import EnergyMeter, spent
from melange.harness.measure.speed import summarize
from melange.harness.prepare import Prepared
from melange.harness.records import EngineShape
from melange.harness.store import RunFolder
from melange.reports.load import load_run

IDLE_MJ, BUSY_MJ = 5_000_000, 5_002_500


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


def test_millijoules_of_the_driver_are_joules_of_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch)
    meter = EnergyMeter("cuda")
    before = meter.joules()
    driver.millijoules["0"] = BUSY_MJ
    assert spent(before, meter.joules()) == 2.5
    assert meter.missing == ""


@pytest.mark.parametrize(("visible", "gpu"), [("1,0", "1"), ("GPU-c", "GPU-c"), ("", "0")])
def test_the_gpu_is_the_one_that_cuda_sees_first(
    monkeypatch: pytest.MonkeyPatch, visible: str, gpu: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    driver = Driver(monkeypatch)
    driver.millijoules[gpu] = BUSY_MJ
    assert EnergyMeter("cuda").joules() == BUSY_MJ / 1000


def test_a_gpu_without_the_counter_is_a_reason_and_no_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Driver(monkeypatch, code=pynvml.NVML_ERROR_NOT_SUPPORTED)
    meter = EnergyMeter("cuda")
    assert meter.joules() is None
    assert meter.missing == "NVML has no energy counter for this GPU: Not Supported"


def test_no_driver_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", absent)
    assert "NVML Shared Library Not Found" in EnergyMeter("cuda").missing


def test_a_cpu_asks_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(pynvml, "nvmlInit")
    meter = EnergyMeter("cpu")
    assert meter.joules() is None
    assert "CPU" in meter.missing


def test_a_counter_that_stood_still_tells_nothing() -> None:
    assert spent(3.0, 3.0) is None
    assert spent(None, 3.0) is None
    assert spent(3.0, 5.5) == 2.5


def with_energy(*joules: float | None) -> list[Timed]:
    rounds = [timed(1.0).rounds["8/8"]._replace(energy_joules=one) for one in joules]
    return [timed(1.0)._replace(rounds={"8/8": one}) for one in rounds]


def on_gpu(name: str) -> Prepared:
    return prepared(name)._replace(shape=EngineShape(signature="s", max_model_len=8, device="cuda"))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_report_says_why_there_is_no_energy(tmp_path: Path, device: str) -> None:
    run = write_run(tmp_path, Shape(candidates=2, tasks=1))
    manifest = json.loads((run / "manifest.json").read_text()) | {"device": device}
    (run / "manifest.json").write_text(json.dumps(manifest))
    if device == "cuda":
        RunFolder(run).append(
            missing_energy(on_gpu("base"), [timed(1.0)._replace(no_energy="no counter")])
        )
    found = load_run(run).read("base", "joules_per_token", workload="8/8")
    expected = ("unneeded", "CPU") if device == "cpu" else ("skipped", "no counter")
    assert (found.value, found.outcome) == (None, expected[0])
    assert expected[1] in found.reason


def test_energy_is_told_by_output_token_with_an_interval_over_rounds() -> None:
    rounds = [one.rounds["8/8"] for one in with_energy(2.0, 4.0, None)]
    found = {one.metric: one for one in summarize("soup", "merging", "8/8", rounds, [])}
    energy = found["joules_per_token"]
    assert (energy.value, energy.n, energy.unit) == (0.75, 2, "J/token")
    assert energy.ci_low == 0.0  # two rounds bound it from below by nothing else
    assert energy.higher_is_better is False


def test_rounds_keep_their_energy() -> None:
    lines = round_lines(prepared("soup"), with_energy(2.0, None), [])
    assert [one.energy_joules for one in lines] == [2.0, None]


def test_a_gpu_says_why_it_tells_no_energy_and_a_cpu_need_not() -> None:
    reason = "NVML has no energy counter for this GPU: Not Supported"
    rounds = [one._replace(no_energy=reason) for one in with_energy(None, None)]
    (record,) = missing_energy(on_gpu("soup"), rounds)
    assert (record.value, record.outcome, record.reason) == (None, "skipped", reason)
    assert missing_energy(prepared("soup"), rounds) == []
    assert missing_energy(on_gpu("soup"), with_energy(1.0)) == []
