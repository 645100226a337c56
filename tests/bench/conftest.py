"""`make bench`: ratios go to the terminal and bench.json. Plain pytest collects no bench_*.py."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from ratios import Ratio, write_json

RATIOS = pytest.StashKey[list[Ratio]]()
OUT = "bench.json"
ROLES = (
    "small_base",
    "small_mix",
    "large_base",
    "large_knowledge",
    "large_arithmetic",
    "large_instructions",
)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RATIOS] = []


@pytest.fixture
def keep(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[[Ratio], None]]:
    """Stores a ratio as soon as it is measured, so that an interrupted run keeps its results."""

    def keep_one(ratio: Ratio) -> None:
        request.config.stash[RATIOS].append(ratio)
        with capsys.disabled():
            print(f"\n{ratio.line()}", flush=True)

    yield keep_one
    write_json(request.config.rootpath / OUT, request.config.stash[RATIOS])


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if config.stash[RATIOS]:
        terminalreporter.section(f"ratios, with 95 % intervals; the seconds are in {OUT}")
        for ratio in config.stash[RATIOS]:
            terminalreporter.write_line(ratio.line())


@pytest.fixture(scope="session")
def pocket() -> Mapping[str, Path]:
    """The pocket zoo's checkpoints by role."""
    from melange.baselines.zoo.catalog import open_zoo

    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("several engines are alive at once here, which a GPU's memory does not allow")
    return open_zoo("pocket").build(ROLES)


@pytest.fixture(scope="session")
def pocket_rows() -> Path:
    from melange.baselines.zoo.catalog import open_zoo
    from melange.harness.cache import cache_dir
    from melange.tasks.sources import pocket_data

    seed = open_zoo("pocket").world_seed
    assert seed is not None
    return pocket_data(seed, cache_dir())
