"""A task that cannot run says why, and what to do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

from melange.harness.errors import HarnessError
from melange.tasks.public import hub
from melange.tasks.public.local import availability, local_dataset
from melange.tasks.registry import load_tasks

DATA = ROOT / "tests" / "data" / "public"
TASKS = load_tasks()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty hub cache, and no network; returns the cache's folder."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_DATASETS_CACHE", "MELANGE_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "hf"


def test_a_data_folder_that_is_not_there_is_named(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELANGE_DATA", "/nowhere")
    with pytest.raises(HarnessError, match="MELANGE_DATA=/nowhere: no such folder"):
        availability(TASKS["piqa"])


def test_a_missing_dataset_is_one_line_with_the_next_step(offline: Path) -> None:
    reason = availability(TASKS["hellaswag"])
    assert "dataset Rowan/hellaswag is neither in the hub's cache nor under MELANGE_DATA" in reason
    assert "hellaswag/<split>.jsonl" in reason
    assert "\n" not in reason


def test_local_files_make_a_task_available(offline: Path) -> None:
    assert availability(TASKS["hellaswag"], DATA) == ""


def test_mmlu_is_refused_while_subjects_are_missing(offline: Path) -> None:
    assert "for 55 of 57 parts" in availability(TASKS["mmlu"], DATA)


def test_a_prepared_dataset_in_the_cache_makes_a_task_available(offline: Path) -> None:
    (offline / "datasets/openai___gsm8k/main/0.0.0/abc").mkdir(parents=True)
    assert availability(TASKS["gsm8k"]) == ""
    assert local_dataset(TASKS["gsm8k"]) is None


def test_another_configuration_in_the_cache_does_not_count(offline: Path) -> None:
    (offline / "datasets/openai___gsm8k/socratic/0.0.0/abc").mkdir(parents=True)
    assert availability(TASKS["gsm8k"]) != ""


@pytest.mark.parametrize("repo", ["google/IFEval", "Rowan/hellaswag", "allenai/ai2_arc", "a/QnA2B"])
def test_the_caches_folder_is_named_as_datasets_names_it(offline: Path, repo: str) -> None:
    naming = pytest.importorskip("datasets.naming")
    owner, _, name = repo.partition("/")
    folder = f"{owner}___{naming.camelcase_to_snakecase(name)}"
    (offline / "datasets" / folder / "default/0.0.0/abc").mkdir(parents=True)
    assert hub.dataset_prepared(repo, None)


def test_worked_examples_that_are_missing_are_named(tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.jsonl").write_text(json.dumps({"question": "?", "answer": "!"}))
    with pytest.raises(
        HarnessError, match=r"no train.jsonl .* 5 worked examples come; found: test"
    ):
        local_dataset(TASKS["gsm8k"], tmp_path)
    assert "worked examples" in availability(TASKS["gsm8k"], tmp_path)


def test_a_folder_of_other_files_is_named(tmp_path: Path) -> None:
    (tmp_path / "piqa").mkdir()
    (tmp_path / "piqa" / "validation.csv").touch()
    with pytest.raises(HarnessError, match="no validation.jsonl .* found: neither kind of file"):
        local_dataset(TASKS["piqa"], tmp_path)


def test_programs_of_a_model_run_only_if_allowed(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_ALLOW_CODE_EVAL", raising=False)
    assert "set HF_ALLOW_CODE_EVAL=1" in availability(TASKS["humaneval"], DATA)
    monkeypatch.setenv("HF_ALLOW_CODE_EVAL", "1")
    assert availability(TASKS["humaneval"], DATA) == ""


def test_the_registry_imports_nothing_heavy() -> None:
    program = "import sys; import melange.tasks.public.local;"
    program += "from melange.tasks.registry import load_tasks;"
    program += "load_tasks(); print({'torch', 'lm_eval', 'datasets'} & set(sys.modules))"
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.stdout.strip() == "set()", ended.stderr
