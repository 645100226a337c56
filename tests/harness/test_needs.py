"""What candidates need: all their weights, keys and values at the load, activations."""

from pathlib import Path
from typing import Any

import pytest
from zoo_of_folders import candidates_of, checkpoints_of

from melange.baselines.zoo.catalog import open_zoo
from melange.harness.engine_shapes import shape_of
from melange.harness.executors.jobs import Failed, Weigh, Weighed
from melange.harness.executors.process import EngineProcess
from melange.harness.measure.needs import heaviest
from melange.harness.measure.speed import fresh_requests, requests_of, tokens_in_flight
from melange.harness.needs import needs, weigh
from melange.harness.prepare import Prepared, prepare
from melange.harness.records import EngineOptions, Workload

SHORT = Workload(name="short", prompt_tokens=8, output_tokens=8, num_requests=4)
LONG = Workload(name="long", prompt_tokens=100, output_tokens=28, num_requests=8)
LOADS = [SHORT, LONG]
LARGE, SMALL = 4 * 3 * 2 * 5 * 32, 4 * 2 * 2 * 2 * 32
"""Bytes of a token's keys and values in the pocket zoo: float32, layers, keys and values, heads."""
ROLES = ("large_base", "large_mix", "small_base", "small_mix")
ENTRIES = [
    {"method": "checkpoint", "roles": ["large_base", "large_mix"]},
    {"method": "proxy", "base": "large_base", "expert": "small_mix", "antiexpert": "small_base"},
    {"method": "vote", "models": ["large_base", "large_mix", "small_base"]},
    {"method": "vote", "models": "large_base", "draws": 2, "temperature": 0.7},
]


@pytest.fixture(scope="module")
def members() -> list[Prepared]:
    """Two fine-tunes of one shape, a proxy-tuned one, a vote, and votes of one model."""
    checkpoints = checkpoints_of(dict(open_zoo("pocket").build(ROLES)))

    def on_a_cpu(served: Any, load: Any, options: EngineOptions) -> Any:
        return shape_of(served, load.start, "cpu", options)

    found = candidates_of(ENTRIES, ROLES)
    return [prepare(one, checkpoints, EngineOptions(), on_a_cpu) for one in found]


class Asked:
    """Stands for an executor: parts of large models take 1,000 bytes, others 100."""

    def __init__(self, *, fails_at: int | None = None) -> None:
        self.jobs: list[Weigh] = []
        self._fails_at = fails_at

    def __call__(self, job: Weigh) -> Weighed | Failed:
        self.jobs.append(job)
        if len(self.jobs) == self._fails_at:
            return Failed("it died")
        return Weighed(1000 if "large" in job.load.checkpoint.name else 100)


def test_what_runs_the_same_kernels_is_weighed_once(members: list[Prepared]) -> None:
    asked = Asked()
    found = weigh(members, LOADS, 0, asked)
    served = [job.load.checkpoint.name for job in asked.jobs]
    assert served[0] == "large_base"
    assert served[2] == "small_base"
    assert len(served) == len(found) == 3, "both large models, their votes and draws are one"


def test_the_next_of_its_kind_stands_in_for_one_that_breaks(members: list[Prepared]) -> None:
    first, second = members[:2]
    asked = Asked(fails_at=1)
    assert weigh([first, second], LOADS, 0, asked) == {first.kernels: 1000}
    assert [job.load.checkpoint.name for job in asked.jobs] == ["large_base", "large_mix"]
    unknown = weigh([first], LOADS, 0, Asked(fails_at=1))
    found = needs(first, LOADS, unknown)
    assert found["needed_memory_bytes"] == "its activations could not be counted: it died"
    assert found["kv_load_bytes"] == LARGE * 8 * 128


def test_the_load_is_the_one_with_the_most_tokens_in_flight() -> None:
    assert heaviest(LOADS) is LONG
    assert tokens_in_flight(LONG) == 8 * 128
    mixed = LONG.model_copy(update={"mixed": True})
    drawn = requests_of(mixed, vocabulary=100, seed=3)
    assert tokens_in_flight(mixed) == sum(len(one.prompt) + one.max_tokens for one in drawn)
    assert heaviest([]) is None


def test_a_need_is_weights_keys_and_values_and_activations(members: list[Prepared]) -> None:
    weighed = weigh(members, LOADS, 0, Asked())
    base, mix, proxy, vote, draws = (needs(one, LOADS, weighed) for one in members)
    sizes = [[info.weights_bytes for info in one.infos] for one in members]
    assert base == mix
    assert base["needed_memory_bytes"] == sizes[0][0] + LARGE * 1024 + 1000
    assert proxy["kv_load_bytes"] == (LARGE + 2 * SMALL) * 1024
    assert proxy["needed_memory_bytes"] > base["needed_memory_bytes"] + sum(sizes[2][1:])
    # Parts are asked in turn, and all of them stay loaded; a model asked twice is one.
    assert len(sizes[3]) == 3
    assert vote["needed_memory_bytes"] == sum(sizes[3]) + LARGE * 1024 + 1000
    assert draws == base


def test_a_workload_is_cut_to_the_context_before_it_is_counted(members: list[Prepared]) -> None:
    long = LONG.model_copy(update={"output_tokens": 10_000})
    context = members[0].shape.max_model_len
    found = needs(members[0], [long], weigh(members[:1], [long], 0, Asked()))
    assert found["kv_load_bytes"] == LARGE * 8 * context


@pytest.mark.slow
def test_a_proxy_needs_more_than_its_base_whatever_was_served_before(
    members: list[Prepared], tmp_path: Path
) -> None:
    """The peak of the process would show the order in which they were served."""
    base, proxy = members[0], members[2]
    process = EngineProcess(tmp_path / "log")
    found = []
    for one in (base, proxy, base):
        activations = weigh([one], LOADS, len(found), process.ask)  # type: ignore[arg-type]
        found.append(needs(one, LOADS, activations))
    process.close()
    assert found[0] == found[2]
    assert found[1]["peak_activation_bytes"] >= found[0]["peak_activation_bytes"] > 2**20
    gained = found[1]["needed_memory_bytes"] - found[0]["needed_memory_bytes"]
    assert gained >= sum(info.weights_bytes for info in proxy.infos[1:]) + 2 * SMALL * 1024


BLOCK_TOKENS = 32
FULL = Workload(name="full", prompt_tokens=32, output_tokens=32, num_requests=8)
"""Two blocks a request at its end."""


@pytest.fixture
def preempted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Requests that an engine sent back to wait because their keys and values did not fit."""
    from vllm.v1.core.sched.scheduler import Scheduler

    import melange.harness.engines.environment  # noqa: F401 (first)

    found: list[str] = []
    preempt = Scheduler._preempt_request

    def noted(self: Any, request: Any, *rest: Any, **more: Any) -> None:
        found.append(request.request_id)
        preempt(self, request, *rest, **more)

    monkeypatch.setattr(Scheduler, "_preempt_request", noted)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("share", "fits"), [(1.0, True), (0.75, False)])
def test_the_load_runs_in_the_keys_and_values_that_are_stated_and_not_in_clearly_less(
    members: list[Prepared], preempted: list[str], share: float, fits: bool
) -> None:
    from melange.harness.engines.session import EngineSession

    (part,) = members[0].parts
    stated = needs(members[0], [FULL], {part.kernels: 0})["kv_load_bytes"]
    assert isinstance(stated, int)
    assert stated == LARGE * 8 * 64
    # vLLM keeps one block for itself.
    pool = int(stated * share) + LARGE * BLOCK_TOKENS
    shape = part.shape.model_copy(update={"max_model_len": 64, "kv_cache_bytes": pool})
    session = EngineSession(part.load.checkpoint, shape)
    assert session.kv_pool_bytes == pool
    answers = session.generate(fresh_requests(session, FULL, seed=0))
    session.close()
    assert [len(one.token_ids) for one in answers] == [32] * 8
    assert bool(preempted) is not fits
