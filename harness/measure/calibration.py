"""A fixed piece of work, by which a slower machine can be told from a slower engine."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from melange.harness.measure.metric import Collector, Metric, Watched

if TYPE_CHECKING:
    from torch import Tensor

YARDSTICK = Metric(
    name="yardstick_sec", unit="s", label="Yardstick", group="machine", scope="serving",
    summary="median", meaning="fixed work outside the engine: the machine's own speed",
)  # fmt: skip

LOOP_STEPS = 25_000
REPEATS = 2
"""The shortest counts: what interrupts the work only ever adds to it."""


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


def yardstick_sec(device: str) -> float:
    """Seconds for a Python loop and a few float32 kernels on the device.

    An engine's step is all of these: Python that schedules, products in a prefill, and in a
    decoding step a pass over the weights, which feels how much of the memory's bandwidth others
    take (docs/gate.md). Below 10 ms; the engine must be idle, and may hold any weights. What it
    allocates (33 MiB on a CPU, 80 MiB on a GPU) it gives back to PyTorch's allocator.
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
    float(product[0, 0] + passed[0])  # a GPU has finished them when it can say this
    return time.perf_counter() - start


@contextmanager
def watch(watched: Watched) -> Iterator[None]:
    watched.readings[YARDSTICK.name] = yardstick_sec(watched.device)
    yield


COLLECTOR = Collector(metrics=(YARDSTICK,), watch=watch)
