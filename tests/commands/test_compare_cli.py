"""`--compare` on stored runs, by the real command line: exit codes, and the chosen baseline."""

import json
import subprocess
from pathlib import Path

import pytest
from command_line import run_here
from comparison_run import (
    REFERENCE,
    edit_manifest,
    forget,
    measurements,
    slow_down,
    write_pair,
)
from report_run import Shape, write_lines

TASK = "knowledge"


@pytest.fixture
def pair(tmp_path) -> tuple[Path, Path]:
    """Runs of `smoke` on the zoo `pocket`, as the command line would name them."""
    old, new = write_pair(tmp_path / "runs", Shape(candidates=6, tasks=2, examples=40))
    for folder in (old, new):
        edit_manifest(folder, lambda m: m["suite"].update(name="smoke"))
        edit_manifest(folder, lambda m: m["zoo"].update(name="pocket"))
    return old, new


def compare(new: Path, ref: object, *more: str) -> subprocess.CompletedProcess[str]:
    return run_here("--suite", "smoke", "--report-only", "--out", new, "--compare", ref, *more)


def gate(new: Path, ref: object) -> subprocess.CompletedProcess[str]:
    return compare(new, ref, "--fail-on-regression")


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr.strip().splitlines()[-1]


def test_noise_passes_and_leaves_a_page(pair):
    old, new = pair
    done = gate(new, old)
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert first == f"comparing with {old}"
    assert second == f"report: {new / 'report' / 'index.html'}"
    assert third.startswith("No regression against old; ")
    assert (new / "report" / "compare.html").is_file()
    assert (new / "report" / "data" / "comparison.csv").is_file()


def test_a_regression_is_exit_1_only_where_it_is_asked_for(pair):
    old, new = pair
    forget(new, REFERENCE, TASK, 12)
    strict, informed = gate(new, old), compare(new, old)
    assert (strict.returncode, informed.returncode) == (1, 0)
    for done in (strict, informed):
        assert "1 regression against old: base on knowledge (−30.0 points)" in done.stdout


def test_a_slow_engine_is_exit_1(pair):
    slow_down(pair[1], 1.5)
    assert gate(pair[1], pair[0]).returncode == 1


def fail_cell(folder: Path, candidate: str, task: str) -> None:
    lines = measurements(folder)
    for line in lines:
        if line["candidate"] == candidate and line.get("task") == task:
            line |= {"value": None, "outcome": "failed", "reason": "the engine died"}
    write_lines(folder, lines)


def test_a_cell_that_failed_here_is_exit_3_and_hides_no_regression(pair):
    old, new = pair
    fail_cell(new, REFERENCE, "knowledge_shifted")
    assert gate(new, old).returncode == 3
    assert compare(new, old).returncode == 0
    forget(new, REFERENCE, TASK, 12)
    done = gate(new, old)
    assert done.returncode == 1
    assert "1 cell of the baseline failed here (base on knowledge_shifted)" in done.stdout


def test_a_gate_that_can_compare_nothing_does_not_pass(pair):
    old, new = pair
    edit_manifest(new, lambda m: m.update(seed=5))
    done = gate(new, old)
    assert done.returncode == 3
    assert "Nothing could be compared with old: another seed: 5, was 0" in done.stdout
    assert compare(new, old).returncode == 0
    edit_manifest(new, lambda m: m.update(seed=0, limit=3))
    done = gate(new, old)
    assert done.returncode == 3
    assert "were not judged: another limit of examples: 3, was 40" in done.stdout


def test_a_report_without_a_baseline_has_no_page_of_one(pair):
    old, new = pair
    compare(new, old)
    assert run_here("--report-only", "--out", new).returncode == 0
    assert not (new / "report" / "compare.html").exists()
    assert not (new / "report" / "data" / "comparison.csv").exists()
    assert "compare.html" not in (new / "report" / "index.html").read_text()


# --- errors in REF are reported before anything changes


def test_a_reference_that_does_not_exist(pair):
    done = compare(pair[1], "odl")
    refused(done, "run 'odl' is unknown", "did you mean old?")
    assert not (pair[1] / "report").exists()


def test_a_reference_without_results(pair, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(compare(pair[1], tmp_path / "empty"), "holds no results", "manifest.json")
    write_lines(pair[0], [])
    refused(compare(pair[1], pair[0]), "holds no results", "nothing in it has completed")
    (pair[0] / "measurements.jsonl").unlink()
    refused(compare(pair[1], pair[0]), "holds no results", "measurements.jsonl")


@pytest.mark.parametrize("name", ["manifest.json", "measurements.jsonl", "rounds.jsonl"])
def test_a_reference_of_a_newer_schema(pair, name):
    path = pair[0] / name
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 9'))
    if name == "measurements.jsonl":
        write_lines(pair[0], [line | {"schema_version": 9} for line in measurements(pair[0])])
    refused(compare(pair[1], pair[0]), "--compare", "has schema 9", "Upgrade")


def test_a_reference_that_was_cut_in_the_middle_of_a_line(pair):
    path = pair[0] / "measurements.jsonl"
    path.write_text(path.read_text()[:-30])
    refused(compare(pair[1], pair[0]), "--compare", "was cut in line")


def test_the_run_itself_is_no_reference(pair):
    refused(compare(pair[1], pair[1]), "is the run itself")


def test_failing_needs_something_to_compare_with():
    refused(run_here("--fail-on-regression"), "--compare REF")


@pytest.mark.parametrize(("key", "remedy"), [("seed", "--seed 5"), ("limit", "--limit 5")])
def test_a_gate_that_would_be_blind_is_refused_before_anything_is_measured(pair, key, remedy):
    old, new = pair
    edit_manifest(old, lambda m: m.update({"limit": None, key: 5}))
    tonight = new.parent / "tonight"
    asked = ("--suite", "smoke", "--out", tonight, "--compare", old, "--fail-on-regression")
    done = run_here(*asked)
    refused(done, f"another {key}", "was 5", f"pass {remedy}")
    assert not tonight.exists()


# --- previous


def older(pair: tuple[Path, Path], name: str, day: int) -> Path:
    """A copy of the old run, started on a day of January 2024."""
    import shutil

    folder = shutil.copytree(pair[0], pair[0].parent / name)
    edit_manifest(folder, lambda m: m.update(started=f"2024-01-{day:02}T10:00:00"))
    return folder


def test_previous_is_the_newest_earlier_finished_run_of_suite_and_zoo(pair):
    newest = older(pair, "newest", 31)
    edit_manifest(pair[0], lambda m: m.update(started="2024-01-10T10:00:00"))
    later = older(pair, "later", 30)
    edit_manifest(later, lambda m: m.update(started="2024-03-01T10:00:00"))
    other_suite = older(pair, "other-suite", 31)
    edit_manifest(other_suite, lambda m: m["suite"].update(name="jan2024"))
    other_zoo = older(pair, "other-zoo", 31)
    edit_manifest(other_zoo, lambda m: m["zoo"].update(name="tinyllama"))
    for key in ("seed", "limit"):
        edit_manifest(older(pair, f"other-{key}", 31), lambda m, key=key: m.update({key: 7}))
    half = older(pair, "half", 31)
    write_lines(half, measurements(half)[:20])
    broken = older(pair, "broken", 31)
    (broken / "manifest.json").write_text("{")
    assert compare(pair[1], "previous").stdout.startswith(f"comparing with {newest}\n")


def test_the_first_night_has_nothing_to_compare_with_and_passes(pair):
    (pair[0] / "manifest.json").unlink()
    done = gate(pair[1], "previous")
    assert done.returncode == 0
    assert done.stdout.startswith("nothing to compare with: beside ")
    assert not (pair[1] / "report" / "compare.html").exists()


def test_the_new_run_may_be_cut_and_its_lost_cell_is_a_gap(pair):
    old, new = pair
    lines = measurements(new)
    last = next(x for x in lines if (x["candidate"], x.get("task")) == (REFERENCE, TASK))
    lines.append(lines.pop(lines.index(last)))
    write_lines(new, lines)
    path = new / "measurements.jsonl"
    path.write_text(path.read_text()[:-30])
    assert gate(new, old).returncode == 3
    page = (new / "report" / "compare.html").read_text()
    assert "not run in this run: the run stopped before it came to it" in page


def test_the_manifest_records_the_definition_of_each_task():
    from melange.tasks.registry import load_tasks
    from melange.tasks.sources import definition_hash

    tasks = load_tasks()
    hashes = {name: definition_hash(task) for name, task in tasks.items()}
    assert len(set(hashes.values())) == len(tasks)
    assert hashes == {name: definition_hash(task) for name, task in load_tasks().items()}


def test_another_yaml_is_another_definition_and_its_notes_are_not(tmp_path):
    from melange.harness.records import Task
    from melange.tasks.public.definitions import read_definition
    from melange.tasks.registry import TASKS, load_tasks
    from melange.tasks.sources import definition_hash

    task = load_tasks()["pocket_knowledge"]
    text = (TASKS / "pocket" / "pocket_knowledge.yaml").read_text()

    def changed(old: str, new: str) -> str:
        assert old in text
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.yaml"
        path.write_text(text.replace(old, new))
        read_definition.cache_clear()
        return definition_hash(Task(**json.loads(task.model_dump_json()) | {"lm_eval": str(path)}))

    same = changed("domain: knowledge", "domain: other")
    assert same == definition_hash(task)
    assert changed("max_gen_toks: 8", "max_gen_toks: 9") != same
    assert changed("  version: 1", "  version: 2") != same
