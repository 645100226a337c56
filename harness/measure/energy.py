"""Energy of the GPU that serves, from the counter that NVIDIA's driver keeps."""

from collections.abc import Iterator
from contextlib import contextmanager

from melange.harness.measure.metric import Collector, Metric, Watched
from melange.harness.measure.nvml import first_gpu

JOULES_PER_TOKEN = Metric(
    name="joules_per_token", unit="J/token", label="Energy", group="energy", scope="workload",
    summary="mean", headline=True, tolerance=1.1, judged_by="rounds",
    absent="energy is read from NVML, which knows no CPU",
    meaning="of the device, for each token that was generated",
)  # fmt: skip
JOULES = "energy_joules"
"""Of the whole device in one round, with idle draw and prefill."""


@contextmanager
def watch(watched: Watched) -> Iterator[None]:
    """The driver updates the counter about ten times a second: shorter work may not show, and then
    there is no reading."""
    if watched.device == "cpu":
        yield
        return
    import pynvml

    before, reason = None, ""
    try:
        gpu = first_gpu()
        before = pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
    except pynvml.NVMLError as error:
        reason = f"NVML has no energy counter for this GPU: {error}"
    yield
    if before is None:
        watched.readings[JOULES_PER_TOKEN.name] = reason
    elif joules := (pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu) - before) / 1000:
        watched.readings[JOULES] = joules
        watched.readings[JOULES_PER_TOKEN.name] = joules / watched.rounds[0].output_tokens


COLLECTOR = Collector(metrics=(JOULES_PER_TOKEN,), watch=watch)
