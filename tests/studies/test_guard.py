"""`make guard` passes without a baseline, fails after three slower runs, and stores a pass."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).with_name("guard.py")


@pytest.fixture(scope="module")
def guard() -> ModuleType:
    spec = importlib.util.spec_from_file_location("guard", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Runs:
    """Stands for pytest, with the given exit codes."""

    def __init__(self, codes: Sequence[int]) -> None:
        self.codes = list(codes)
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str]) -> int:
        self.commands.append(command)
        (path,) = [part.split("=")[1] for part in command if part.startswith("--benchmark-json")]
        Path(path).write_text(f"run {len(self.commands)}")
        return self.codes.pop(0)


def test_without_a_baseline_it_passes_and_says_so(
    guard: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = Runs([0])
    baseline = tmp_path / "new folder" / "machine.json"
    assert guard.guard(baseline, runs) == 0
    assert baseline.read_text() == "run 1"
    assert not [part for part in runs.commands[0] if "compare" in part]
    assert "nothing to compare with" in capsys.readouterr().out


def test_with_a_baseline_medians_are_compared_with_it(guard: ModuleType, tmp_path: Path) -> None:
    baseline = tmp_path / "machine.json"
    baseline.write_text("before")
    runs = Runs([0])
    assert guard.guard(baseline, runs) == 0
    assert f"--benchmark-compare={baseline}" in runs.commands[0]
    assert "--benchmark-compare-fail=median:15%" in runs.commands[0]
    assert baseline.read_text() == "run 1"


def test_one_slow_moment_is_forgiven(guard: ModuleType, tmp_path: Path) -> None:
    baseline = tmp_path / "machine.json"
    baseline.write_text("before")
    assert guard.guard(baseline, Runs([1, 1, 0])) == 0


def test_slower_three_times_fails_and_leaves_the_baseline(
    guard: ModuleType, tmp_path: Path
) -> None:
    baseline = tmp_path / "machine.json"
    baseline.write_text("before")
    assert guard.guard(baseline, Runs([1, 1, 1])) == 1
    assert baseline.read_text() == "before"


@pytest.mark.slow
def test_pytest_benchmark_takes_the_options_and_fails_on_what_is_slower(
    guard: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    quick = tmp_path / "bench_quick.py"
    quick.write_text("def test_quick(benchmark):\n    benchmark(sum, range(1000))\n")
    monkeypatch.setattr(guard, "BENCHMARKS", str(quick))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # parallel tests are not timed
    baseline = tmp_path / "machine.json"
    assert guard.guard(baseline, guard.run) == 0
    for seconds, code in ((100.0, 0), (1e-9, 1)):
        content = json.loads(baseline.read_text())
        for one in content["benchmarks"]:
            one["stats"]["median"] = seconds
        baseline.write_text(json.dumps(content))
        assert guard.guard(baseline, guard.run) == code
