"""The command line: a user's error is one line and exit code 2, and changes nothing."""

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run_here
from places import ROOT

SUITE = """\
title: T
tasks: {pocket: [pocket_knowledge]}
candidates: [{method: checkpoint, roles: [large_base]}]
"""


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--suite", "jan2042"], ["suite 'jan2042'", "did you mean jan2024"]),
        (["--zoo", "poket"], ["zoo 'poket'", "did you mean pocket"]),
        (["--only", "large_bse"], ["candidate 'large_bse'", "large_base"]),
        (["--tasks", "pocket_knowlege"], ["task 'pocket_knowlege'", "pocket_knowledge"]),
        (["--limit", "0"], ["--limit", "'0'", "at least 1"]),
        (["--limit", "ten"], ["--limit", "'ten'"]),
        (["--seed", "-1"], ["--seed"]),
        (["--device", "tpu"], ["--device", "cpu"]),
        (["--suite", "missing.yaml"], ["missing.yaml", "no such file"]),
        (["--zoo", "missing.yaml"], ["missing.yaml", "no such file"]),
        (["export", "proxy-mix"], ["required: DIR"]),
        (["export", "proxy-mx-a1.0", "x"], ["'proxy-mx-a1.0'", "proxy-mix-a1.0"]),
        (["--report-only", "--out", "nowhere"], ["nowhere", "holds no run"]),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], words: list[str]) -> None:
    done = run_here(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for word in words:
        assert word.lower() in done.stderr.lower()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SUITE + "tassks: []\n", ["tassks", "tasks"]),
        (SUITE.replace("title: T", "title: [T]"), ["title", "string"]),
        (SUITE + "rounds: many\n", ["rounds", "integer", "'many'"]),
        (SUITE.replace("checkpoint", "chekpoint"), ["candidates[0]", "did you mean checkpoint"]),
        (SUITE.replace("roles:", "rolls:"), ["rolls", "did you mean roles"]),
        ("title: T\n", ["tasks", "missing"]),
        ("- 1\n", ["key: value"]),
        ("a: [\n", ["is not YAML"]),
    ],
)
def test_a_wrong_suite_names_file_key_and_what_is_allowed(
    text: str, words: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert_one_line(run_here("--suite", path, "--plan"), "mine.yaml", *words)


def test_a_folder_of_another_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    manifest = (
        '{"schema_version": 1, "suite": {"name": "other", "tasks": {}, "candidates": []}, '
        '"zoo": {"name": "pocket", "fingerprints": {}}, "limit": null, "seed": 0, "device": "cpu"}'
    )
    (tmp_path / "manifest.json").write_text(manifest)
    done = run_here("--suite", "smoke", "--out", tmp_path)
    assert_one_line(done, "holds a run with suite other, this one has smoke")
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_an_output_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_one_line(run_here("--suite", "smoke", "--out", tmp_path / "file"), "--out")


def test_a_python_without_the_dependencies_is_told_what_to_run() -> None:
    # -I -S: this interpreter without site-packages.
    command = [sys.executable, "-I", "-S", str(ROOT / "run_all.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert_one_line(done, "make run")


def test_planning_and_listing_import_neither_torch_nor_vllm(tmp_path: Path) -> None:
    code = (
        "import sys, run_all\n"
        f"out = r'{tmp_path / 'new'}'\n"
        "assert run_all.main(['--suite', 'smoke', '--plan', '--out', out]) == 0\n"
        "assert run_all.main(['--suite', 'jan2024', '--list']) == 0\n"
        "assert not {'torch', 'vllm', 'transformers', 'lm_eval'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == 0
    assert not (tmp_path / "new").exists()


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} run_all.py --suite smoke --plan | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.startswith("smoke on the zoo pocket")
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["run", "list", "plan", "report", "export", "trends", "prune"])
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    done = run_here(name, "--help")
    assert done.returncode == 0
    assert f"example: run_all.py {name} " in " ".join(done.stdout.split())
    assert f"    {name} " in run_here("--help").stdout


@pytest.mark.parametrize(("option", "command"), [("--plan", "plan"), ("--list", "list")])
def test_an_option_in_place_of_a_command_says_the_same(option: str, command: str) -> None:
    asked = run_here("--suite", "smoke", option)
    assert asked.stdout == run_here(command, "--suite", "smoke").stdout
    assert asked.stdout


def test_the_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert run_here("--version").stdout == f"melange {version('melange-bench')}\n"


def test_an_error_of_ours_is_one_line_with_the_traceback_in_a_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(options: object) -> int:
        raise ZeroDivisionError("of nothing")

    monkeypatch.setattr("melange.commands.plan.open_study", fail)
    done = run_here("plan")
    assert (done.returncode, done.stderr.count("\n")) == (4, 1)
    assert "ZeroDivisionError: of nothing" in done.stderr
    traceback = Path(done.stderr.split()[-1])
    assert "in fail" in traceback.read_text()
    traceback.unlink()


def test_the_package_is_imported_by_one_name() -> None:
    """Packages that an install finds in the folder, as setuptools looks for them."""
    from setuptools import find_packages

    found = find_packages(str(ROOT), include=["melange*"])
    assert {"melange.harness.engines", "melange.commands", "melange.tasks.pocket"} <= set(found)
    assert {name.split(".")[0] for name in found} == {"melange"}
