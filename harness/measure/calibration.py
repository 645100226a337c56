"""Fixed work outside the engine, timed to tell a slower machine from a slower engine."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from melange.harness.measure.metric import Collector, Metric, Watched

if TYPE_CHECKING:
    from torch import Tensor

CALIBRATION = Metric(
    name="calibration_sec", unit="s", label="Machine calibration", group="machine", scope="serving",
    summary="median", meaning="fixed work outside the engine: the machine's own speed",
    ungated="it is the machine's speed, from which a slower machine is told from a slower engine",
)  # fmt: skip

LOOP_STEPS = 25_000
REPEATS = 2
"""The shortest counts: an interruption can only make the work take longer."""


class Kernels(NamedTuple):
    """Work on the device: matrix products that stay in a cache, and vectors times a matrix that
    does not fit into one."""

    num_products: int
    size: int
    """Rows and columns of each factor."""
    num_passes: int
    rows: int
    columns: int


KERNELS = {
    "cpu": Kernels(num_products=1, size=384, num_passes=4, rows=2048, columns=4096),
    "cuda": Kernels(num_products=8, size=2048, num_passes=64, rows=4096, columns=4096),
}


def calibration_sec(device: str) -> float:
    """Seconds for a Python loop and a few float32 kernels on the device.

    An engine's step does all of these: Python schedules, a prefill multiplies matrices, and a
    decoding step reads all weights, which slows down when others use the memory's bandwidth
    (docs/gate.md). Takes less than 10 ms; the engine must be idle, and may hold any weights. The
    33 MiB (CPU) or 80 MiB (GPU) that it allocates go back to PyTorch's allocator.
    """
    import torch

    kernels = KERNELS[device]
    square = torch.ones(kernels.size, kernels.size, device=device)
    weights = torch.ones(kernels.rows, kernels.columns, device=device)
    vector = torch.ones(kernels.columns, device=device)
    return min(_once(kernels, square, weights, vector) for _ in range(REPEATS))


def _once(kernels: Kernels, square: "Tensor", weights: "Tensor", vector: "Tensor") -> float:
    start = time.perf_counter()
    steps = 0
    for step in range(LOOP_STEPS):
        steps += step & 1
    for _ in range(kernels.num_products):
        product = square @ square
    for _ in range(kernels.num_passes):
        passed = weights @ vector
    float(product[0, 0] + passed[0])  # waits until a GPU has finished
    return time.perf_counter() - start


@contextmanager
def watch(watched: Watched) -> Iterator[None]:
    watched.readings[CALIBRATION.name] = calibration_sec(watched.device)
    yield


COLLECTOR = Collector(metrics=(CALIBRATION,), watch=watch)
