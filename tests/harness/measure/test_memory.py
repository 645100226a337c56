"""A process's memory is told where it is the candidate's; what serving adds is counted exactly."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from timed_rounds import prepared, timed

from melange.harness.costs import cost_records
from melange.harness.engine_shapes import shape_of
from melange.harness.executors.jobs import Time, Timed, Weigh, Weighed
from melange.harness.executors.process import EngineProcess
from melange.harness.loads import Load
from melange.harness.measure import memory
from melange.harness.measure.energy import JOULES, JOULES_PER_TOKEN
from melange.harness.measure.metric import Watched
from melange.harness.records import Workload
from melange.harness.runs.current import current

MIB = 2**20


class Serving:
    """A session that reports its pool's size, or None if it serves parts in turn."""

    def __init__(self, kv_pool_bytes: int | None) -> None:
        self.kv_pool_bytes = kv_pool_bytes


def read(work: Callable[[], object], kv_pool_bytes: int | None = 7) -> dict[str, Any]:
    session: Any = Serving(kv_pool_bytes)
    watched = Watched(session, "cpu")
    with memory.watch(watched):
        work()
    return watched.readings


def test_the_peak_of_a_round_is_what_stood_and_what_was_freed_again() -> None:
    standing = bytearray(64 * MIB)
    found = read(lambda: len(bytearray(96 * MIB)))
    assert found["peak_memory_bytes"] > len(standing) + 96 * MIB
    assert read(int)["peak_memory_bytes"] < found["peak_memory_bytes"] - 90 * MIB
    assert found["kv_pool_bytes"] == 7
    assert "device_memory_bytes" not in found


def test_where_the_peak_cannot_be_forgotten_it_is_still_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "CLEAR_REFS", tmp_path)  # a folder, which cannot be written to
    assert read(int).keys() == {"kv_pool_bytes", "peak_memory_bytes"}


def test_a_system_that_tells_nothing_is_no_number(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "STATUS", tmp_path / "absent")
    assert read(int) == {"kv_pool_bytes": 7}


def test_what_is_served_in_turn_has_a_reason_in_place_of_a_peak() -> None:
    assert read(int, kv_pool_bytes=None) == {"peak_memory_bytes": memory.SERVED_IN_TURN}


def recorded(*readings: dict[str, Any]) -> dict[str, tuple[float | None, int | None, str]]:
    rounds = [timed(1.0)._replace(readings=one) for one in readings]
    records = current(cost_records(prepared("soup"), rounds, []))
    return {one.metric: (one.value, one.n, one.reason) for one in records}


def test_peaks_are_the_highest_of_all_rounds() -> None:
    found = recorded(
        {"peak_memory_bytes": 900, "kv_pool_bytes": 7},
        {"peak_memory_bytes": 950, "kv_pool_bytes": 7},
    )
    assert found["peak_memory_bytes"] == (950, 2, "")
    assert found["kv_pool_bytes"] == (7, 2, "")


def test_a_peak_that_other_weights_may_have_a_part_in_is_told_by_no_round() -> None:
    readings = {"peak_memory_bytes": 900, "kv_pool_bytes": 7}
    shared = memory.attributed(readings, alone=False)
    assert memory.attributed(readings, alone=True) == readings
    found = recorded(readings, shared)
    assert found["peak_memory_bytes"] == (None, None, memory.SERVED_OTHERS)
    assert found["kv_pool_bytes"] == (7, 2, "")


# On real engines

WIDTH, FFN = 256, 8192
FEW = Workload(name="few", prompt_tokens=4, output_tokens=4, num_requests=1)
MANY = Workload(name="many", prompt_tokens=100, output_tokens=4, num_requests=20)
WEIGHTS_BYTES = 4 * 2 * (3 * WIDTH * FFN)
"""Of the feed-forward layers only, in float32."""
FFN_BYTES = 4 * 2000 * 2 * FFN
"""Activations of 2,000 tokens in one float32 feed-forward layer: gate and up."""


def make_wide(out: Path, seed: int) -> Path:
    """Two layers whose feed-forward part is much larger than everything else."""
    from fused_models import make_member
    from transformers import LlamaConfig

    shape = LlamaConfig(
        vocab_size=96,
        hidden_size=WIDTH,
        intermediate_size=FFN,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
    )
    return make_member(out, shape, seed=seed)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two of one shape."""
    root = tmp_path_factory.mktemp("checkpoints")
    return [make_wide(root / f"wide-{seed}", seed) for seed in (0, 1)]


def asked_on(device: str, log: Path, jobs: list[tuple[type[Any], Path, Workload]]) -> list[Any]:
    """Replies of one process."""
    from melange.harness.checkpoints.info import inspect

    process = EngineProcess(log)
    replies = []
    for kind, folder, load in jobs:
        shape = shape_of([inspect(folder)], folder, device)
        replies.append(process.ask(kind(Load(folder), shape, [load], 0)))
    process.close()
    assert all(isinstance(one, Timed | Weighed) for one in replies), replies
    return replies


@pytest.fixture(scope="module")
def served(checkpoints: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    log = tmp_path_factory.mktemp("log") / "log"
    one, other = checkpoints
    asked = [(Time, one, FEW), (Weigh, one, MANY), (Weigh, one, FEW), (Weigh, other, MANY),
             (Time, one, FEW), (Weigh, one, MANY)]  # fmt: skip
    return asked_on("cpu", log, asked)


@pytest.mark.slow
def test_the_pool_is_what_the_engine_was_given(served: list[Any], checkpoints: list[Path]) -> None:
    from melange.harness.checkpoints.info import inspect

    given = shape_of([inspect(checkpoints[0])], checkpoints[0], "cpu").kv_cache_bytes
    pools = {one.readings["kv_pool_bytes"] for one in served if isinstance(one, Timed)}
    assert len(pools) == 1
    assert 0.98 * given <= pools.pop() <= given


@pytest.mark.slow
def test_activations_follow_the_load_and_not_the_weights_nor_what_was_served_before(
    served: list[Any],
) -> None:
    many, few, other, again = (one.activation_bytes for one in served if isinstance(one, Weighed))
    assert few < FFN_BYTES / 4
    assert FFN_BYTES < many < 3 * FFN_BYTES
    assert many == other == again


@pytest.mark.slow
def test_a_process_tells_its_peak_until_other_weights_come(served: list[Any]) -> None:
    alone, shared = (one.readings for one in served if isinstance(one, Timed))
    parts = WEIGHTS_BYTES + alone["kv_pool_bytes"]
    assert parts < alone["peak_memory_bytes"] < parts + 2**31
    assert shared["peak_memory_bytes"] == memory.SERVED_OTHERS


@pytest.mark.slow
def test_a_round_has_a_calibration_beside_it_and_no_energy_on_a_cpu(served: list[Any]) -> None:
    for one in (one for one in served if isinstance(one, Timed)):
        assert 0 < one.readings["calibration_sec"] < 5
        for part in one.rounds.values():
            assert not {JOULES, JOULES_PER_TOKEN.name} & part.readings.keys()


@pytest.mark.gpu
def test_a_gpu_tells_its_pool_activations_and_energy(tmp_path: Path) -> None:
    folder = make_wide(tmp_path / "wide", 0)
    long = MANY.model_copy(update={"output_tokens": 100, "num_requests": 256})
    asked = [(Time, folder, long), (Weigh, folder, long)]
    one, weighed = asked_on("cuda", tmp_path / "log", asked)
    pool, peak = one.readings["kv_pool_bytes"], one.readings["peak_memory_bytes"]
    assert pool > 2**30
    assert 0 < weighed.activation_bytes < peak - pool
    assert one.readings["device_memory_bytes"] > peak
    joules = one.rounds["many"].readings[JOULES]
    watts = joules / one.rounds["many"].wall_sec
    assert 10 < watts < 1500  # of one GPU, from idle to the largest one on the market
