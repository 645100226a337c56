"""Parts of memory are distinguished: the engine's reservation, weights, and what serving adds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from timed_rounds import prepared, timed

from melange.harness.costs import cost_records
from melange.harness.engine_shapes import shape_of
from melange.harness.executors.jobs import Time, Timed
from melange.harness.executors.process import EngineProcess
from melange.harness.loads import Load
from melange.harness.measure import memory
from melange.harness.measure.energy import JOULES, JOULES_PER_TOKEN
from melange.harness.measure.metric import Watched
from melange.harness.records import Workload

MIB = 2**20
SLACK = 4 * MIB
"""Linux counts a process's pages in batches, and Python allocates in between."""


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


def test_what_was_freed_again_counts_as_activation_and_what_stood_before_does_not() -> None:
    standing = bytearray(64 * MIB)
    found = read(lambda: len(bytearray(96 * MIB)))
    assert found["activation_bytes"] == pytest.approx(96 * MIB, abs=SLACK)
    assert found["peak_memory_bytes"] > len(standing) + 96 * MIB
    assert found["kv_pool_bytes"] == 7
    assert "device_memory_bytes" not in found


def test_memory_that_small_pieces_left_behind_does_not_hide_the_next_round() -> None:
    def small_pieces() -> int:
        return len([bytearray(64 * 1024) for _ in range(512)])

    found = [read(small_pieces)["activation_bytes"] for _ in range(3)]
    assert found == pytest.approx([32 * MIB] * 3, abs=SLACK)


def test_where_the_peak_cannot_be_forgotten_there_are_no_activations(
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


def test_peaks_are_the_highest_of_all_rounds_and_activations_the_lowest() -> None:
    readings: list[dict[str, Any]] = [
        {"peak_memory_bytes": 900, "activation_bytes": 60, "kv_pool_bytes": 7},
        {"peak_memory_bytes": 950, "activation_bytes": 20, "kv_pool_bytes": 7},
    ]
    rounds = [timed(1.0)._replace(readings=one) for one in readings]
    records = cost_records(prepared("soup"), rounds, [])
    found = {one.metric: (one.value, one.n) for one in records if one.metric in readings[0]}
    assert found == {
        "peak_memory_bytes": (950, 2), "activation_bytes": (20, 2), "kv_pool_bytes": (7, 2),
    }  # fmt: skip


# On real engines

WIDTH, FFN = 256, 8192
FEW = Workload(name="few", prompt_tokens=4, output_tokens=4, num_requests=1)
MANY = Workload(name="many", prompt_tokens=100, output_tokens=4, num_requests=20)
WEIGHTS_BYTES = 4 * 2 * (3 * WIDTH * FFN)
"""Of the feed-forward layers only, in float32."""
FFN_BYTES = 4 * 2000 * 2 * FFN
"""Activations of 2,000 tokens in one float32 feed-forward layer: gate and up."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
    return make_member(tmp_path_factory.mktemp("checkpoint") / "wide", shape, seed=0)


def timed_on(device: str, checkpoint: Path, log: Path, loads: list[Workload]) -> list[Timed]:
    from melange.harness.checkpoints.info import inspect

    shape = shape_of([inspect(checkpoint)], checkpoint, device)
    process = EngineProcess(log)
    replies = [process.ask(Time(Load(checkpoint), shape, [load], 0)) for load in loads]
    process.close()
    for reply in replies:
        assert isinstance(reply, Timed), reply
    return replies


@pytest.fixture(scope="module")
def served(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Timed]:
    return timed_on("cpu", checkpoint, tmp_path_factory.mktemp("log") / "log", [MANY, FEW, MANY])


@pytest.mark.slow
def test_the_pool_is_what_the_engine_was_given(served: list[Timed], checkpoint: Path) -> None:
    from melange.harness.checkpoints.info import inspect

    given = shape_of([inspect(checkpoint)], checkpoint, "cpu").kv_cache_bytes
    pools = {one.readings["kv_pool_bytes"] for one in served}
    assert len(pools) == 1
    assert 0.98 * given <= pools.pop() <= given


@pytest.mark.slow
def test_activations_follow_the_load_and_not_its_place_in_the_run(served: list[Timed]) -> None:
    first, few, again = (one.readings["activation_bytes"] for one in served)
    assert few < FFN_BYTES / 4
    assert first > FFN_BYTES
    assert again == pytest.approx(first, rel=0.25)


@pytest.mark.slow
def test_the_peak_holds_weights_pool_and_activations(served: list[Timed]) -> None:
    for one in served:
        parts = WEIGHTS_BYTES + one.readings["kv_pool_bytes"] + one.readings["activation_bytes"]
        assert parts < one.readings["peak_memory_bytes"] < parts + 2**31


@pytest.mark.slow
def test_a_round_has_a_calibration_beside_it_and_no_energy_on_a_cpu(served: list[Timed]) -> None:
    for one in served:
        assert 0 < one.readings["calibration_sec"] < 5
        for part in one.rounds.values():
            assert not {JOULES, JOULES_PER_TOKEN.name} & part.readings.keys()


@pytest.mark.gpu
def test_a_gpu_tells_its_pool_activations_and_energy(checkpoint: Path, tmp_path: Path) -> None:
    long = MANY.model_copy(update={"output_tokens": 100, "num_requests": 256})
    (one,) = timed_on("cuda", checkpoint, tmp_path / "log", [long])
    pool, peak = one.readings["kv_pool_bytes"], one.readings["peak_memory_bytes"]
    assert pool > 2**30
    assert 0 < one.readings["activation_bytes"] < peak - pool
    assert one.readings["device_memory_bytes"] > peak
    joules = one.rounds["many"].readings[JOULES]
    watts = joules / one.rounds["many"].wall_sec
    assert 10 < watts < 1500  # of one GPU, from idle to the largest one on the market
