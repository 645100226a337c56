"""Model Runner V2, which GPUs use, agrees with the V1 runner on every task of the pocket zoo.

V2 runs under Triton's interpreter here. It returns prompt log-probabilities only for tokens that
were not in the prefix cache, so each batch is scored twice.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from runner_v2 import use_v2_on_a_cpu
from session_process import SessionProcess

import melange.harness.engines.environment  # noqa: F401 (before vllm)
from melange.harness.checkpoints.info import inspect
from melange.harness.engine_shapes import shape_of
from melange.harness.engines.fused.folder import write_folder
from melange.harness.records import EngineShape
from melange.harness.requests import Completion, Generation, Request, Score
from melange.tasks.registry import load_tasks
from melange.tasks.sources import task_sources

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        Path("/proc/driver/nvidia").exists(), reason="Triton compiles for the GPU of this machine"
    ),
]

ROWS = int(os.environ.get("MELANGE_RUNNER_ROWS", "2"))
"""Rows per task; a nightly run may set more."""
NATS = 1e-4
ROLES = {"alone": ("small_mix",), "fused": ("large_base", "small_mix", "small_base")}
COEFFICIENTS = (1.0, 0.8, -0.8)
CONTEXT = tuple(range(20, 84))
LONG = [Request(CONTEXT[:start], tuple(range(100, 100 + length)))
        for start in (40, 64) for length in (4, 9, 16)]  # fmt: skip
"""Continuations of several tokens, unlike the pocket tasks' choices; some share a prefix."""
TASKS = {name: task for name, task in load_tasks().items() if name.startswith("pocket_")}


class Gap(NamedTuple):
    request: Request
    nats: float
    same_greedy: bool


class BothRunners:
    """Answers with V1, and keeps what V2 answers differently."""

    def __init__(self, v1: Any, v2: SessionProcess) -> None:
        self._v1, self._v2 = v1, v2
        self.max_model_len: int = v1.max_model_len
        self.gaps: list[Gap] = []
        self.same_tokens: list[bool] = []

    def score(self, requests: Sequence[Request]) -> list[Score]:
        expected: list[Score] = self._v1.score(requests)
        for _ in range(2):
            found = self._v2.score(requests)
            self.gaps += map(gap, requests, found, expected)
        return expected

    def generate(self, generations: Sequence[Generation]) -> list[Completion]:
        expected: list[Completion] = self._v1.generate(generations)
        found = self._v2.generate(generations)
        self.same_tokens += (
            one.token_ids == other.token_ids for one, other in zip(found, expected, strict=True)
        )
        return expected


def gap(request: Request, found: Score, expected: Score) -> Gap:
    nats = abs(found.logprob - expected.logprob)
    return Gap(request, nats, found.greedy == expected.greedy)


@pytest.fixture(scope="module")
def v2(zoo_folders: Mapping[str, Path]) -> Iterator[SessionProcess]:
    folder = zoo_folders["small_base"]
    shape = EngineShape(signature="first", max_model_len=inspect(folder).context_length)
    process = SessionProcess(folder, shape, use_v2_on_a_cpu)
    yield process
    process.close()


@pytest.mark.parametrize("kind", ROLES)
def test_every_task_of_the_pocket_zoo_is_answered_alike(
    kind: str,
    v2: SessionProcess,
    zoo_folders: Mapping[str, Path],
    pocket_rows: Path,
    tmp_path: Path,
) -> None:
    from melange.harness.engines.session import EngineSession
    from melange.harness.evaluators.lm_eval import LmEvalEvaluator

    members = [zoo_folders[role] for role in ROLES[kind]]
    fused = len(members) > 1
    folder = write_folder(tmp_path, members, COEFFICIENTS).path if fused else members[0]
    shape = shape_of([inspect(one) for one in members], folder, "cpu")
    v2.reopen(folder, shape)
    v1 = EngineSession(folder, shape)
    both = BothRunners(v1, v2)
    sources = task_sources(TASKS.values(), pocket_rows)
    entries = {name: (task, sources[name]) for name, task in TASKS.items()}
    list(LmEvalEvaluator(entries, members[0], limit=ROWS, seed=0).evaluate(both, list(TASKS)))
    both.score(LONG)
    v1.close()

    worst = max(both.gaps, key=lambda gap: gap.nats)
    print(f"{kind}: {len(both.gaps)} scores, {worst.nats:.1e} nats apart at most")
    assert max(len(gap.request.continuation) for gap in both.gaps) == 16
    assert worst.nats <= NATS
    assert all(gap.same_greedy for gap in both.gaps)
    assert both.same_tokens
    assert all(both.same_tokens)
