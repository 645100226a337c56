"""The task registry: one YAML file adds a task, and public tasks run on local files."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas
import pytest
import yaml
from places import ROOT

from melange.harness.errors import HarnessError
from melange.harness.records import Task
from melange.harness.task_metrics import formula
from melange.tasks import sources
from melange.tasks.pocket.data import write_task_data
from melange.tasks.public.definitions import lm_eval_folder, read_definition
from melange.tasks.public.local import availability, local_dataset, members
from melange.tasks.registry import load_tasks, select
from melange.tasks.sources import pocket_data

DATA = ROOT / "tests" / "data" / "public"
TASKS = load_tasks()
PUBLIC = [task for task in TASKS.values() if task.scale == "public"]

PUBLIC_YAML = """\
lm_eval: piqa/piqa.yaml
domain: commonsense
output_type: multiple_choice
primary_metric: acc
"""
POCKET_YAML = """\
task: pocket_capitals
output_type: multiple_choice
num_fewshot: 2
doc_to_target: !function hooks.target
metadata: {version: 1, domain: knowledge, primary_metric: acc, chance: 0.25, split: held_out}
"""


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty hub cache, and no network; returns the cache's folder."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_DATASETS_CACHE", "MELANGE_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "hf"


def registry(folder: Path, *, public: str = "", pocket: str = "") -> Path:
    """A task folder with a public and a pocket file, if given."""
    for kind, name, text in (
        ("public", "riddles.yaml", public),
        ("pocket", "pocket_capitals.yaml", pocket),
    ):
        (folder / kind).mkdir()
        if text:
            (folder / kind / name).write_text(text)
    return folder


# Adding and choosing tasks


def test_dropping_one_yaml_adds_a_task(tmp_path: Path) -> None:
    tasks = load_tasks(registry(tmp_path, public=PUBLIC_YAML, pocket=POCKET_YAML))
    assert list(tasks) == ["pocket_capitals", "riddles"]
    assert tasks["riddles"].lm_eval.endswith("lm_eval/tasks/piqa/piqa.yaml")


def test_a_pocket_task_takes_its_shots_and_output_type_from_lm_evals_keys(tmp_path: Path) -> None:
    task = load_tasks(registry(tmp_path, pocket=POCKET_YAML))["pocket_capitals"]
    assert (task.output_type, task.num_fewshot, task.scale) == ("multiple_choice", 2, "pocket")
    assert Path(task.lm_eval).is_file()
    assert availability(task) == ""


def test_select_keeps_the_order_of_the_patterns_and_repeats_nothing() -> None:
    chosen = [task.name for task in select(TASKS, ["piqa", "arc_*", "*piqa*"])]
    assert chosen == ["piqa", "arc_challenge", "arc_easy"]


def test_an_unknown_task_brings_the_nearest_names() -> None:
    with pytest.raises(HarnessError, match=r"task 'hellaswagg' is unknown; did you mean hellaswag"):
        select(TASKS, ["hellaswagg"])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (PUBLIC_YAML + "primary_metrics: acc\n", "did you mean primary_metric"),
        (PUBLIC_YAML + "chance: often\n", "chance='often': input should be a valid number"),
        (PUBLIC_YAML.replace("multiple_choice", "essay"), "'generate_until', 'multiple_choice'"),
        (PUBLIC_YAML.replace("domain: commonsense\n", ""), "key 'domain' is missing"),
        ("- piqa\n", "holds list; it must hold `key: value`"),
        ("lm_eval: [piqa\n", "is not YAML: line"),
        (PUBLIC_YAML + "shifted_of: riddle\n", "shifted_of: task 'riddle' is unknown"),
    ],
)
def test_a_bad_yaml_is_one_line_that_names_file_and_key(
    tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(HarnessError) as caught:
        load_tasks(registry(tmp_path, public=text))
    assert complaint in str(caught.value)
    assert "riddles" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_key_of_a_pocket_task_names_its_metadata(tmp_path: Path) -> None:
    text = POCKET_YAML.replace("chance", "chanse")
    with pytest.raises(HarnessError, match=r"capitals.yaml: metadata: key 'chanse' .* chance"):
        load_tasks(registry(tmp_path, pocket=text))


# The registry and lm-eval agree


@pytest.mark.parametrize("task", PUBLIC, ids=lambda task: task.name)
def test_what_the_registry_says_is_what_lm_eval_scores(task: Task) -> None:
    definition = read_definition(Path(members(task)[0].lm_eval))
    filters = [entry["name"] for entry in definition.get("filter_list", [{"name": "none"}])]
    metrics = {entry["metric"]: entry for entry in definition["metric_list"]}
    assert task.output_type == definition["output_type"]
    assert task.filter in filters
    for metric in formula(task.primary_metric).of:
        assert metrics[metric].get("higher_is_better", True) is task.higher_is_better
    assert task.unsafe_code is definition.get("unsafe_code", False)


def test_humaneval_differs_from_lm_evals_in_its_scorer_only() -> None:
    folder = lm_eval_folder()
    assert folder
    ours = read_definition(Path(TASKS["humaneval"].lm_eval))
    theirs = read_definition(folder / "humaneval" / "humaneval.yaml")
    differs = {key for key in ours | theirs if ours.get(key) != theirs.get(key)}
    assert differs == {"process_results", "metric_list", "filter_list"}


def test_mmlu_is_its_57_subjects() -> None:
    parts = members(TASKS["mmlu"])
    assert len(parts) == 57
    assert all(read_definition(Path(part.lm_eval))["task"] == part.name for part in parts)


# Public tasks on local files, through lm-eval itself

FIRST_CHOICE = {
    "arc_challenge": 0,
    "arc_easy": 1 / 3,
    "boolq": 1 / 3,
    "hellaswag": 1 / 3,
    "mmlu_anatomy": 1 / 3,
    "mmlu_astronomy": 1 / 2,
    "openbookqa": 1 / 3,
    "piqa": 2 / 3,
    "truthfulqa_mc2": 1,
    "winogrande": 1 / 3,
    "boolean_expressions": 1 / 2,
    "musr_murder_mysteries": 1 / 2,
    "leaderboard_mmlu_pro": 1 / 2,
}
WHOLES = {
    "mmlu_anatomy": "mmlu",
    "mmlu_astronomy": "mmlu",
    "boolean_expressions": "leaderboard_bbh",
    "musr_murder_mysteries": "leaderboard_musr",
}
SAYS = {
    "gsm8k": ("So the answer is 42.\n#### 42", 1 / 3),
    "triviaqa": (" Saturn", 1 / 3),
    "humaneval": ("    return 2 * number\n", 1 / 2),
    "ifeval": ("a green river runs to the sea", 2 / 3),
}


def part_named(name: str) -> Task:
    whole = TASKS[WHOLES.get(name, name)]
    return next(part for part in members(whole) if part.name == name)


@pytest.fixture
def load(offline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """lm-eval's own task objects, by name."""
    datasets = pytest.importorskip("datasets")
    lm_eval_tasks = pytest.importorskip("lm_eval.tasks")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()

    def load_part(part: Task, root: Path | None = DATA) -> Any:
        config = {"include": part.lm_eval, "num_fewshot": part.num_fewshot}
        path = tmp_path / f"{part.name}.yaml"
        path.write_text(yaml.safe_dump(config | (local_dataset(part, root) or {})))
        found = lm_eval_tasks.TaskManager(include_defaults=False).load(str(path))["tasks"]
        (task,) = found.values()  # lm-eval's name may differ from its file's
        return task

    return load_part


def score(task: Any, filter_name: str, metric: str) -> float:
    """lm-eval's processing of the model's answer."""
    task.apply_filters()
    by_doc: dict[int, list[Any]] = {}
    for request in task.instances:
        by_doc.setdefault(request.doc_id, []).append(request)
    values = [
        task.process_results(
            requests[0].doc,
            [r.filtered_resps[filter_name] for r in sorted(requests, key=lambda r: r.idx)],
        )[metric]
        for requests in by_doc.values()
    ]
    return float(task.aggregation()[metric](values))


@pytest.mark.parametrize("name", FIRST_CHOICE)
def test_always_the_first_choice_scores_what_the_rows_say(name: str, load: Any) -> None:
    part = part_named(name)
    task = load(part)
    task.build_all_requests(rank=0, world_size=1)
    for request in task.instances:
        request.resps.append((0.0 if request.idx == 0 else -100.0, False))
    assert score(task, part.filter, part.primary_metric) == pytest.approx(FIRST_CHOICE[name])


@pytest.mark.parametrize("name", SAYS)
def test_one_answer_to_everything_scores_what_the_rows_say(
    name: str, load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "ifeval":
        pytest.importorskip("langdetect")
        monkeypatch.setattr("nltk.download", lambda *names, **options: False)
    part, (says, expected) = part_named(name), SAYS[name]
    task = load(part)
    task.build_all_requests(rank=0, world_size=1)
    for request in task.instances:
        request.resps.append(says)
    assert score(task, part.filter, part.primary_metric) == pytest.approx(expected)


def test_worked_examples_come_from_the_local_few_shot_split(load: Any) -> None:
    task = load(TASKS["gsm8k"])
    task.build_all_requests(rank=0, world_size=1)
    prompt = task.instances[0].args[0]
    assert prompt.count("Question:") == 6
    assert "A rope of 18 m" in prompt


def test_a_download_in_the_hubs_cache_serves_without_being_prepared(
    load: Any, offline: Path
) -> None:
    snapshot = offline / "hub/datasets--baber--piqa/snapshots/0123"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0123")
    rows = (DATA / "piqa" / "validation.jsonl").read_text()
    for split in ("train", "validation"):
        (snapshot / f"{split}.jsonl").write_text(rows)
    assert local_dataset(TASKS["piqa"]) == {"dataset_path": str(snapshot)}
    assert len(load(TASKS["piqa"], None).eval_docs) == 3


def test_parquet_files_serve_as_well(load: Any, tmp_path: Path) -> None:
    rows = pandas.read_json(DATA / "piqa" / "validation.jsonl", lines=True)
    (tmp_path / "piqa").mkdir()
    rows.to_parquet(tmp_path / "piqa" / "validation.parquet")
    assert len(load(TASKS["piqa"], tmp_path).eval_docs) == len(rows)


@pytest.mark.parametrize("name", [task.name for task in PUBLIC if task.cluster_by])
def test_what_examples_share_is_a_column_that_lm_eval_keeps(load: Any, name: str) -> None:
    docs = list(load(members(TASKS[name])[0]).eval_docs)
    assert all(doc[TASKS[name].cluster_by] for doc in docs)


def test_what_examples_share_is_a_column_of_every_pocket_row(tmp_path: Path) -> None:
    write_task_data(0, tmp_path)
    clustered = [task for task in TASKS.values() if task.scale == "pocket" and task.cluster_by]
    assert len(clustered) == 18
    for task in clustered:
        rows = [json.loads(line) for line in (tmp_path / f"{task.name}.jsonl").open()]
        shared = {row[task.cluster_by] for row in rows}
        assert len(shared) < len(rows)


def test_cached_rows_are_written_again_when_their_generator_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pocket_data(0, tmp_path / "cache")
    assert pocket_data(0, tmp_path / "cache") == before
    monkeypatch.setattr(sources, "POCKET", shutil.copytree(sources.POCKET, tmp_path / "pocket"))
    with (tmp_path / "pocket" / "data.py").open("a") as file:
        file.write("# Another column.\n")
    after = pocket_data(0, tmp_path / "cache")
    assert after != before
    assert {path.name for path in after.iterdir()} == {path.name for path in before.iterdir()}
