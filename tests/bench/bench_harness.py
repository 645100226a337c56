"""The harness's own speed, without an engine: planning, reading a store, rendering a report."""

import shutil
from pathlib import Path

from harness.plan import make_plan
from harness.records import Measurement
from harness.store import RunFolder
from harness.suite import find_suite, read_suite

REPORT = Path(__file__).parent.parent / "data" / "report"
NUM_RECORDS = 5000


def test_plan_a_suite(benchmark) -> None:
    from baselines.zoo.catalog import open_zoo
    from tasks.registry import load_tasks

    path = find_suite("jan2024")

    def plan():
        return make_plan(read_suite(path), open_zoo("pocket"), load_tasks(), where=path)

    assert benchmark(plan).cells


def test_read_a_store(benchmark, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append(
        Measurement(
            candidate=f"candidate-{i // 50}", family="merging", task=f"task-{i % 50}",
            metric="acc", value=0.5, n=500, ci_low=0.45, ci_high=0.55,
        )
        for i in range(NUM_RECORDS)
    )  # fmt: skip
    assert len(benchmark(folder.measurements)) == NUM_RECORDS


def test_render_a_report(benchmark, tmp_path: Path) -> None:
    from reports.render import render

    run = shutil.copytree(REPORT, tmp_path / "run")
    assert benchmark.pedantic(render, args=(run,), rounds=5, warmup_rounds=1).is_file()
