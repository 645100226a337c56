"""Measures the cost of a suite: one engine for all, the harness's overhead, merges in memory."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml
from engines import open_session, pocket_entries
from merges import BASE, merges
from ratios import Ratio, interleave, share_outside, timed, times_faster

from melange.harness.checkpoints.info import inspect
from melange.harness.executors.clocked import ClockedSession

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TASKS = ("pocket_mc_trade", "pocket_knowledge")
LIMIT = 100
OUR_SETTINGS = ("VLLM_", "TORCH_COMPILE_DISABLE", "OMP_NUM_THREADS")
QUICK = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "TORCH_COMPILE_DISABLE": "1",
    "OMP_NUM_THREADS": "1",
}


def run(command: Sequence[str], settings: Mapping[str, str]) -> None:
    """Runs a process with the environment of a fresh shell, and these settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(OUR_SETTINGS)}
    paths = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, *command],
        env=kept | paths | settings,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def lm_eval_command(checkpoint: Path, tasks: Path, more: str = "") -> list[str]:
    length = inspect(checkpoint).context_length
    # A share of memory that is free next to other work too; on a CPU it is only reserved.
    arguments = (
        f"pretrained={checkpoint},dtype=float32,max_model_len={length},"
        f"gpu_memory_utilization=0.5{more}"
    )
    return [
        str(HERE / "lm_eval_vllm.py"),
        *("--model", "vllm", "--model_args", arguments),
        *("--include_path", str(tasks), "--tasks", ",".join(TASKS), "--limit", str(LIMIT)),
    ]  # fmt: skip


def write_tasks(rows: Path, out: Path) -> Path:
    """Writes the tasks' YAML for lm-eval's command line."""
    for name, (_, (source,)) in pocket_entries(rows, *TASKS).items():
        (out / f"{name}.yaml").write_text(yaml.safe_dump(source))
    return out


def scaled(name: str, seconds: Mapping[str, Sequence[float]], side: str, note: str) -> Ratio:
    num = len(merges())
    fresh = [num * one for one in seconds[side]]
    typical = sum(seconds[side]) / len(seconds[side])
    told = f"{note}: {typical:.1f} s a candidate, times {num}; merging not counted there"
    sides = {"one engine": seconds["one engine"], f"{num} fresh starts": fresh}
    return times_faster(name, sides, bar=10.0, note=told)


def test_suite(
    keep: Callable[[Ratio], None], pocket: Mapping[str, Path], pocket_rows: Path, tmp_path: Path
) -> None:
    tasks, checkpoint = write_tasks(pocket_rows, tmp_path), pocket["large_knowledge"]
    ours = [str(HERE / "one_engine.py"), str(pocket_rows), str(LIMIT), *TASKS]
    quick = lm_eval_command(
        checkpoint,
        tasks,
        f",enforce_eager=True,distributed_executor_backend=uni,kv_cache_memory_bytes={2**28}",
    )
    sides = {
        "one engine": timed(lambda: run(ours, {"OMP_NUM_THREADS": "1"})),
        "fresh": timed(lambda: run(lm_eval_command(checkpoint, tasks), {})),
        "quick": timed(lambda: run(quick, QUICK)),
    }
    sides["fresh"]()  # fills vLLM's and torch's caches on a new machine
    seconds = interleave(sides, rounds=2, warm_up=False)
    keep(scaled("suite_vs_engine_per_candidate", seconds, "fresh", "lm-eval as it comes"))
    keep(
        scaled(
            "suite_vs_engine_per_candidate_quick_start", seconds, "quick",
            "lm-eval told to start vLLM as we do, in process and uncompiled",
        )
    )  # fmt: skip


class ClockedEngine:
    """Measures seconds in vLLM's `generate`, which a session calls."""

    def __init__(self, session: object) -> None:
        self.busy_sec = 0.0
        self._session = session

    def __enter__(self) -> "ClockedEngine":
        self._llm = self._session._llm  # type: ignore[attr-defined]
        self._inner = self._llm.generate
        self._llm.generate = self._generate
        return self

    def __exit__(self, *_: object) -> None:
        del self._llm.generate

    def _generate(self, *arguments: object, **options: object) -> object:
        start = time.perf_counter()
        try:
            return self._inner(*arguments, **options)
        finally:
            self.busy_sec += time.perf_counter() - start


def test_overhead(
    keep: Callable[[Ratio], None], pocket: Mapping[str, Path], pocket_rows: Path
) -> None:
    from melange.harness.evaluators.lm_eval import LmEvalEvaluator

    session = open_session(pocket[BASE])
    entries = pocket_entries(pocket_rows)
    examination = LmEvalEvaluator(entries, pocket[BASE], limit=None, seed=0)
    whole: list[float] = []
    in_session: list[float] = []
    in_vllm: list[float] = []
    for number in range(6):
        session.forget_prefixes()
        clocked = ClockedSession(session)
        with ClockedEngine(session) as engine:
            start = time.perf_counter()
            results = list(examination.evaluate(clocked, list(entries)))
            seconds = time.perf_counter() - start
        if number:  # the first one fills caches
            whole.append(seconds)
            in_session.append(clocked.busy_sec)
            in_vllm.append(engine.busy_sec)
    rows = sum(len(result.samples.score) for result in results)
    note = f"{len(entries)} tasks, {rows} examples, {sum(whole) / len(whole):.1f} s"
    keep(
        share_outside(
            "harness_overhead_share", {"in LLM.generate": in_vllm, "whole": whole},
            bar=0.05, note=note,
        )
    )  # fmt: skip
    keep(
        share_outside(
            "harness_overhead_share_outside_session",
            {"in the session": in_session, "whole": whole},
            note="the session's own requests and results counted as the engine's",
        )
    )
