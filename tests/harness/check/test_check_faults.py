"""The check disputes faults planted in the harness one at a time, and agrees without a fault."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_engines import Engines, Place, examine, pocket_place
from planted_faults import PLANTS

from melange.harness.verdicts import Verdict

pytestmark = pytest.mark.slow

ENTRIES = [
    {"method": "checkpoint", "roles": ["large_mix"]},
    {"mergekit": "soup-linear", "base": "largest"},
]
TASKS = ("pocket_mc_trade", "pocket_arithmetic")
CHOSEN = {
    "nothing in soup-linear": False,
    "other end tokens 14 too in large_mix": True,
    "a template twice in large_mix": True,
    "a stale parameter model.layers.1.mlp.down_proj.weight in soup-linear": True,
}


@pytest.fixture(scope="module")
def place() -> Place:
    return pocket_place(ENTRIES, TASKS, limit=12)


@pytest.fixture(scope="module")
def engines(place: Place) -> Iterator[Engines]:
    started = Engines(place)
    yield started
    started.close()


@pytest.mark.parametrize("label", CHOSEN)
def test_a_planted_fault_is_disputed(
    label: str, place: Place, engines: Engines, tmp_path: Path
) -> None:
    at, plant = next((at, one) for at, one in enumerate(PLANTS) if one.label == label)
    engines.answer(plant, at, tmp_path)
    checks = examine(place, plant, tmp_path, number=8)
    assert len(checks) >= 16
    disputed = [one for one in checks if one.verdict is Verdict.DISPUTED]
    assert bool(disputed) == CHOSEN[label], [one.reason for one in checks]
    assert all(one.reason and one.ours != one.theirs for one in disputed)
    worst = max(one.difference or 0.0 for one in checks)
    assert CHOSEN[label] or worst < 1e-4
