"""The harness's own speed, without an engine: planning, a store, statistics, report, trends.

`make guard` compares them with earlier results on the same machine.
"""

import shutil
from pathlib import Path

import numpy as np
from nightly_runs import Nights, write_history
from report_run import Shape, write_run
from zoo_of_folders import plan_of

from melange.harness.records import Measurement
from melange.harness.runs.writer import RunFolder
from melange.harness.suite import find_suite, read_suite

REPORT = Path(__file__).parent.parent / "data" / "report"
NUM_RECORDS = 5000


def test_plan_a_suite(benchmark) -> None:
    from melange.baselines.zoo.catalog import open_zoo
    from melange.tasks.registry import load_tasks

    path = find_suite("jan2024")

    def plan():
        return plan_of(read_suite(path), open_zoo("pocket"), load_tasks())

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
    from melange.reports.render import render

    run = shutil.copytree(REPORT, tmp_path / "run")
    assert benchmark.pedantic(render, args=(run,), rounds=5, warmup_rounds=1).is_file()


def test_render_sixty_candidates_on_thirty_tasks(benchmark, tmp_path: Path) -> None:
    """15 s on an idle core of 3 GHz."""
    from melange.reports.render import render

    run = write_run(tmp_path / "run", Shape(candidates=60, tasks=30, examples=500))
    index = benchmark.pedantic(render, args=(run,), rounds=2)
    assert index.stat().st_size < 3e6


def test_rank_sixty_candidates_on_thirty_tasks(benchmark) -> None:
    from melange.harness.stats import TaskScores, aggregate, rank_groups

    draw = np.random.default_rng(0)
    skill_K = np.linspace(0.3, 0.7, 60)
    tasks = [
        TaskScores(scores_KN=(draw.random((60, 500)) < skill_K[:, None]).astype(float))
        for _ in range(30)
    ]

    ranks = benchmark(lambda: rank_groups(aggregate(tasks)))
    assert ranks[-1] == 1 < ranks[0]


def test_find_the_steps_of_a_year(benchmark) -> None:
    from melange.reports.analysis.trends.steps import find_steps

    values_LN = np.random.default_rng(0).normal(100, 1, (500, 365))
    values_LN[:, 200:] += 5
    found = benchmark(find_steps, values_LN, np.full_like(values_LN, np.nan))
    assert all(abs(steps[0].at - 200) <= 1 for steps in found)


def test_render_the_trends_of_a_year(benchmark, tmp_path: Path) -> None:
    """10 s on an idle core of 3 GHz."""
    from melange.reports.render import render_trends

    write_history(tmp_path, Nights(nights=365, candidates=12, tasks=12, workloads=4))
    assert benchmark.pedantic(render_trends, args=(tmp_path,), rounds=2).is_file()


def test_render_the_trends_of_a_month(benchmark, tmp_path: Path) -> None:
    from melange.reports.render import render_trends

    write_history(tmp_path, Nights(nights=30, candidates=12, tasks=12, workloads=4))
    assert benchmark.pedantic(render_trends, args=(tmp_path,), rounds=5, warmup_rounds=1).is_file()
