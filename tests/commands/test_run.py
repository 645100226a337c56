"""Whole runs over trained checkpoints named in a user's zoo file, on lm-eval's public tasks."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

import pytest
from places import DATA, ROOT
from safetensors.torch import load_file, save_file

from melange.harness.records import Measurement, Outcome
from melange.harness.runs.reader import read_open_loops, read_rounds, read_run
from melange.harness.runs.writer import RunFolder

pytestmark = pytest.mark.slow

Finished = tuple[subprocess.CompletedProcess[str], list[Measurement]]

ROLES = ("small_base", "small_mix", "large_base", "large_mix")
NUM_ROUNDS = 8
"""Rounds after which speeds are as precise as the suite asks."""
TASKS = ("arc_easy", "gsm8k", "hellaswag", "truthfulqa_mc2")
SUITE = f"""\
title: Test
reference: large_base
tasks: {{public: [{", ".join(TASKS)}]}}
candidates:
  - {{method: checkpoint, roles: [large_base, large_mix, large_broken]}}
  - {{method: proxy, base: large_base, expert: small_mix, antiexpert: small_base}}
  - {{method: proxy, base: large_base, expert: small_code, antiexpert: small_base}}
  - {{mergekit: soup.yaml}}
rounds: 20
target_relative_error: 10.0  # which any machine reaches
workloads:
  - {{name: 8/8, prompt_tokens: 8, output_tokens: 8, num_requests: 4}}
  - {{name: serve, prompt_tokens: 8, output_tokens: 8, num_requests: 30, request_rate: [40],
     repetitions: 2, goodput: {{latency_sec: 60}}}}
"""
SOUP = """\
# Mean of base and tuned
merge_method: linear
models:
  - {model: large_base, parameters: {weight: 1.0}}
  - {model: large_mix, parameters: {weight: 1.0}}
"""


def break_weights(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][:] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.fixture(scope="module")
def workplace(zoo_folders: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite, a recipe and a zoo file; one checkpoint of the zoo holds NaN."""
    folder = tmp_path_factory.mktemp("run")
    broken = shutil.copytree(zoo_folders["large_base"], folder / "broken")
    break_weights(broken)
    models = {
        role: str(zoo_folders[role])
        for role in ("small_base", "small_mix", "large_base", "large_mix")
    }
    roles = {role: {"model": path} for role, path in models.items()}
    roles["large_broken"] = {"model": str(broken)}
    (folder / "suite.yaml").write_text(SUITE)
    (folder / "soup.yaml").write_text(SOUP)
    zoo = {"kind": "public", "scale": "public", "name": "mine", "roles": roles}
    (folder / "zoo.yaml").write_text(json.dumps(zoo))
    return folder


def run_all(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "run_all.py"), "--suite", str(folder / "suite.yaml")]
    command += ["--zoo", str(folder / "zoo.yaml"), "--out", str(folder / "out"), *arguments]
    data = {"MELANGE_DATA": str(DATA / "public")}
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | data, check=False
    )


@pytest.fixture(scope="module")
def finished(workplace: Path) -> Finished:
    done = run_all(workplace, "--no-check")
    return done, RunFolder(workplace / "out").measurements()


def test_a_candidate_that_fails_costs_its_own_cells_and_exit_3(finished: Finished) -> None:
    done, measurements = finished
    assert done.returncode == 3, done.stderr
    failed = [one for one in measurements if one.outcome is Outcome.FAILED]
    assert {one.candidate for one in failed} == {"large_broken"}
    assert len(failed) == len(TASKS) + 1
    assert all("NaN" in one.reason for one in failed)


def test_every_other_cell_has_a_value_with_n_and_an_interval(finished: Finished) -> None:
    _, measurements = finished
    for candidate in ("large_base", "large_mix", "proxy-small_mix-a1.0", "soup"):
        mine = [one for one in measurements if one.candidate == candidate]
        assert {one.task for one in mine if one.task} == set(TASKS)
        assert all(one.n and one.ci_low is not None for one in mine if one.task)
        metrics = {one.metric for one in mine if not one.task}
        assert {
            "weights_bytes", "kv_bytes_per_token", "peak_memory_bytes", "total_params",
            "active_params", "relative_throughput", "total_tokens_per_sec", "latency_sec",
            "tpot_sec", "request_throughput", "kv_pool_bytes",
            "needed_memory_bytes", "kv_load_bytes", "peak_activation_bytes", "beyond_base_sec",
        } <= metrics  # fmt: skip


def test_a_mix_needs_more_memory_than_its_base_and_weights_of_one_shape_need_the_same(
    finished: Finished,
) -> None:
    """Their engine is the same process, whose peak would tell who was served last."""
    _, measurements = finished
    found = {one.candidate: one for one in measurements if one.metric == "needed_memory_bytes"}
    base = found["large_base"].value
    assert base
    assert found["large_mix"].value == found["soup"].value == base
    assert (found["proxy-small_mix-a1.0"].value or 0) > base
    peaks = {one.candidate: one for one in measurements if one.metric == "peak_memory_bytes"}
    assert peaks["soup"].value is None
    assert "served other weights" in peaks["soup"].reason


def test_every_round_is_kept_with_the_reference_beside_it(
    workplace: Path, finished: Finished
) -> None:
    rounds = read_rounds(workplace / "out" / "rounds.jsonl")
    units = {"large_base": {"large_base", "large_mix", "soup"}, "proxy-small_mix-a1.0": None}
    assert {(one.unit, one.round) for one in rounds} == set(product(units, range(NUM_ROUNDS)))
    base = sorted((one for one in rounds if one.unit == "large_base"), key=lambda one: one.started)
    assert {one.candidate for one in base} == units["large_base"]
    for one in rounds:
        around = [one.wall_sec, one.wall_sec]
        if one not in base:
            before = [each.wall_sec for each in base if each.started <= one.started]
            after = [each.wall_sec for each in base if each.started > one.started]
            around = [before[-1], after[0]]
        assert one.reference_wall_sec == pytest.approx(math.sqrt(math.prod(around)))
        assert len(one.ttft_sec) == len(one.latency_sec) == len(one.tpot_sec) == 4
        assert one.calibration_sec


def test_every_request_that_arrives_is_kept_with_its_times(
    workplace: Path, finished: Finished
) -> None:
    _, measurements = finished
    lines = read_open_loops(workplace / "out" / "open_loops.jsonl")
    candidates = ("large_base", "large_mix", "proxy-small_mix-a1.0", "soup")
    assert {(one.candidate, one.repetition) for one in lines} == set(product(candidates, range(2)))
    assert {one.workload for one in lines} == {"serve@40/s"}
    for one in lines:
        assert one.num_tokens == (8,) * 30
        assert all(due <= sent for due, sent in zip(one.due_sec, one.sent_sec, strict=True))
    met = {one.candidate: one.value for one in measurements if one.metric == "attainment"}
    assert met == dict.fromkeys(candidates, 1.0)


def test_rounds_end_once_speeds_are_known(finished: Finished) -> None:
    done, _ = finished
    assert f"{NUM_ROUNDS} rounds: a candidate's speed is known to" in done.stdout


def test_the_report_fills_while_the_run_goes_on_and_lines_say_how_far_it_is(
    workplace: Path, finished: Finished
) -> None:
    done, _ = finished
    said = [line for line in done.stdout.splitlines() if "report" in line]
    index = RunFolder(workplace / "out").report
    assert said == [f"report so far: {index}", f"report: {index}"]
    assert re.search(r"large_mix: 4 tasks in \S+ s \(\d+ of 25 cells", done.stdout)
    assert "cells measured" not in index.read_text()
    manifest = RunFolder(workplace / "out").manifest()
    assert manifest is not None
    assert manifest.finished


def test_a_candidate_whose_role_is_missing_is_skipped_with_the_reason(finished: Finished) -> None:
    _, measurements = finished
    skipped = {one.reason for one in measurements if one.candidate == "proxy-small_code-a1.0"}
    assert skipped == {"the zoo mine has no role small_code"}


def test_the_report_shows_the_failure_with_its_reason(workplace: Path, finished: Finished) -> None:
    pages = workplace / "out" / "report" / "candidates"
    (page,) = (path.read_text() for path in pages.glob("large?broken*.html"))
    assert "NaN" in page


def test_the_same_command_again_runs_only_what_is_missing(
    workplace: Path, zoo_folders: Mapping[str, Path], finished: Finished
) -> None:
    _, before = finished
    done = run_all(workplace, "--plan")
    assert "large_broken: 5 cells" in done.stdout
    assert "large_mix" not in done.stdout
    again = run_all(workplace, "--only", "large_mix", "--only", "soup", "--no-check")
    assert again.returncode == 0
    assert "everything is measured" in again.stdout
    after = RunFolder(workplace / "out").measurements()
    assert Counter(map(str, before)) == Counter(map(str, after))


WITHOUT_ENGINE = """\
import sys
from melange.cli import main
code = main(["rescore", *sys.argv[1:]])
assert "vllm" not in sys.modules
sys.exit(code)
"""


def test_rescoring_an_unchanged_run_gives_the_same_without_an_engine(
    workplace: Path, finished: Finished
) -> None:
    out, again = workplace / "out", workplace / "rescored"
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ENGINE, str(out), "--out", str(again)],
        capture_output=True, text=True, env=os.environ | {"MELANGE_DATA": str(DATA / "public")},
        check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "16 cells of" in done.stdout
    left = [line for line in done.stdout.splitlines() if line.startswith("not scored again")]
    assert all("large_broken on " in line and "NaN" in line for line in left)
    before, after = read_run(out), read_run(again)
    assert sorted(map(str, before.measurements)) == sorted(map(str, after.measurements))
    files = [*(out / "samples").rglob("*.parquet")]
    assert len(files) == 16
    for file in files:
        assert file.read_bytes() == (again / file.relative_to(out)).read_bytes()
    assert {"whole", "filtered"} <= set(_kinds_shown(again, "gsm8k"))


def _kinds_shown(folder: Path, task: str) -> Iterator[str]:
    """Kinds of texts on a task's page of samples, without filters' names."""
    page = (folder / "report" / "samples" / f"{task}.html").read_text()
    facts = re.search(r'data-part="facts">(.*?)</script>', page)
    assert facts
    for one in json.loads(facts[1])["candidates"]:
        yield from (kind.partition(":")[0] for kind in one["columns"])
