"""Shared fixtures: the shipped zoo, and the rows of its tasks."""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import settings

# A slow example on a busy machine is not a failure.
settings.register_profile("any machine", deadline=None, max_examples=50)
settings.load_profile("any machine")

# One thread is fastest for models this small; set before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

pytest.register_assert_rewrite("fused_answers", "simulated_runner")

ZOO = os.environ.get("MELANGE_TEST_ZOO", "pocket")
"""Tests also run on a zoo trained with another seed: MELANGE_TEST_ZOO=pocket@1."""
WHOLE_RUNS = "test_run.py"
ROLES = (
    "small_base",
    "small_mix",
    "lora_small_mix",
    "large_base",
    "large_mix",
    "mixture_base",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the slowest files first: otherwise one of two processes would idle at the end.

    Without a GPU, tests that need one are skipped: `make gpu-check` runs them.
    """
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (item.path.name != WHOLE_RUNS, -slow[item.path]))
    if Path("/proc/driver/nvidia/version").exists():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no NVIDIA driver is loaded here"))


@pytest.fixture(scope="session")
def zoo_folders() -> Mapping[str, Path]:
    """Trained checkpoints by role."""
    from melange.baselines.zoo.catalog import open_zoo

    return open_zoo(ZOO).build(ROLES)


@pytest.fixture(scope="session")
def pocket_rows() -> Path:
    """The folder with the pocket tasks' rows."""
    from melange.baselines.zoo.catalog import open_zoo
    from melange.harness.cache import cache_dir
    from melange.tasks.sources import pocket_data

    seed = open_zoo(ZOO).world_seed
    assert seed is not None
    return pocket_data(seed, cache_dir())
