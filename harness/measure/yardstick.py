"""A fixed piece of work, by which a slower machine can be told from a slower engine."""

import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch

LOOP_STEPS = 100_000
REPEATS = 2
"""The shortest counts: what interrupts the work only ever adds to it."""


class Products(NamedTuple):
    """Matrix products that take about as long as the loop."""

    number: int
    size: int


PRODUCTS = {"cpu": Products(8, 384), "cuda": Products(32, 2048)}


def yardstick_sec(device: str) -> float:
    """Seconds for a Python loop and a few matrix products in float32 on the device.

    An engine's step is both: Python that schedules, and kernels. About 10 ms; the engine must be
    idle, and may hold any weights.
    """
    import torch

    products = PRODUCTS[device]
    square = torch.ones(products.size, products.size, device=device)
    return min(_once(square, products.number) for _ in range(REPEATS))


def _once(square: "torch.Tensor", num_products: int) -> float:
    start = time.perf_counter()
    steps = 0
    for step in range(LOOP_STEPS):
        steps += step & 1
    product = square
    for _ in range(num_products):
        product = square @ square
    float(product[0, 0])  # a GPU has finished them when it can say this
    return time.perf_counter() - start
