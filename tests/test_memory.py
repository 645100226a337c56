"""Memory is told apart: what the engine set aside, what stands, and what serving adds to it."""

from pathlib import Path

import pytest
from test_rounds import prepared, timed

from melange.harness.costs import memory_records
from melange.harness.engine_shapes import shape_of
from melange.harness.executors.jobs import Time, Timed
from melange.harness.executors.process import EngineProcess
from melange.harness.loads import Load
from melange.harness.measure import memory
from melange.harness.measure.memory import Footprint, Gauge
from melange.harness.records import Workload

MIB = 2**20
SLACK = 4 * MIB
"""Linux counts a process's pages in batches, and Python allocates as it goes."""


def test_what_was_freed_again_counts_as_activation_and_what_stood_before_does_not() -> None:
    standing = bytearray(64 * MIB)
    gauge = Gauge("cpu")
    passing = bytearray(96 * MIB)
    del passing
    found = gauge.read(kv_pool_bytes=7)
    assert found.activation_bytes == pytest.approx(96 * MIB, abs=SLACK)
    assert found.peak_bytes is not None
    assert found.peak_bytes > len(standing) + 96 * MIB
    assert (found.kv_pool_bytes, found.device_bytes) == (7, None)


def test_memory_that_small_pieces_left_behind_does_not_hide_the_next_round() -> None:
    def round_of_small_pieces() -> int:
        gauge = Gauge("cpu")
        pieces = [bytearray(64 * 1024) for _ in range(512)]
        del pieces
        found = gauge.read(None).activation_bytes
        assert found is not None
        return found

    assert [round_of_small_pieces() for _ in range(3)] == pytest.approx([32 * MIB] * 3, abs=SLACK)


def test_where_the_peak_cannot_be_forgotten_there_are_no_activations(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "CLEAR_REFS", tmp_path)  # a folder: it cannot be written
    found = Gauge("cpu").read(None)
    assert found.activation_bytes is None
    assert found.peak_bytes


def test_a_system_that_tells_nothing_is_no_number(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "STATUS", tmp_path / "absent")
    assert Gauge("cpu").read(None) == Footprint(None, None, None, None)


def test_peaks_are_the_highest_of_all_rounds_and_activations_the_lowest() -> None:
    footprints = [Footprint(900, 60, None, 7), Footprint(950, 20, None, 7)]
    rounds = [timed(1.0)._replace(memory=one) for one in footprints]
    found = {one.metric: (one.value, one.n) for one in memory_records(prepared("soup"), rounds)}
    assert found == {
        "peak_memory_bytes": (950, 2), "activation_bytes": (20, 2), "kv_pool_bytes": (7, 2),
    }  # fmt: skip


# On real engines

WIDTH, FFN = 256, 8192
FEW = Workload(name="few", prompt_tokens=4, output_tokens=4, num_requests=1)
MANY = Workload(name="many", prompt_tokens=100, output_tokens=4, num_requests=20)
WEIGHTS_BYTES = 4 * 2 * (3 * WIDTH * FFN)
"""Of the feed-forward layers alone, in float32."""
FFN_BYTES = 4 * 2000 * 2 * FFN
"""What 2,000 tokens take in one float32 feed-forward layer: gate and up."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers with a feed-forward part so wide that it dwarfs everything else."""
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
    pools = {one.memory.kv_pool_bytes for one in served}
    assert len(pools) == 1
    assert 0.98 * given <= pools.pop() <= given


@pytest.mark.slow
def test_activations_follow_the_load_and_not_its_place_in_the_run(served: list[Timed]) -> None:
    first, few, again = (one.memory.activation_bytes for one in served)
    assert few < FFN_BYTES / 4
    assert first > FFN_BYTES
    assert again == pytest.approx(first, rel=0.25)


@pytest.mark.slow
def test_the_peak_holds_weights_pool_and_activations(served: list[Timed]) -> None:
    for one in served:
        parts = WEIGHTS_BYTES + one.memory.kv_pool_bytes + one.memory.activation_bytes
        assert parts < one.memory.peak_bytes < parts + 2**31


@pytest.mark.slow
def test_a_round_has_a_yardstick_beside_it_and_no_energy_on_a_cpu(served: list[Timed]) -> None:
    for one in served:
        assert 0 < one.yardstick_sec < 5
        assert "CPU" in one.no_energy
        assert {part.energy_joules for part in one.rounds.values()} == {None}


@pytest.mark.gpu
def test_a_gpu_tells_its_pool_activations_and_energy(checkpoint: Path, tmp_path: Path) -> None:
    long = MANY.model_copy(update={"output_tokens": 100, "num_requests": 256})
    (one,) = timed_on("cuda", checkpoint, tmp_path / "log", [long])
    assert one.memory.kv_pool_bytes > 2**30
    assert 0 < one.memory.activation_bytes < one.memory.peak_bytes - one.memory.kv_pool_bytes
    assert one.memory.device_bytes > one.memory.peak_bytes
    assert one.no_energy == ""
    joules = one.rounds["many"].energy_joules
    watts = joules / one.rounds["many"].wall_sec
    assert 10 < watts < 1500  # of one GPU, from idle to the most that is sold
