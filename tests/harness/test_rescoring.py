"""A stored run is scored again from what it keeps: as a fresh evaluation would score it."""

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from melange.harness.measure.holes import hole, scored_records
from melange.harness.recipes.weights import Weights
from melange.harness.records import SCHEMA_VERSION, Candidate, Measurement, Outcome, Task
from melange.harness.requests import Completion, Generation, Request, Score
from melange.harness.rescoring import CHANGED, Rescored, Rescoring
from melange.harness.runs.manifest_content import Inputs
from melange.harness.runs.reader import read_run
from melange.harness.runs.writer import RunFolder
from melange.harness.samples import TaskResult

pytestmark = pytest.mark.slow

Source = Mapping[str, Any]
ROWS = [{"question": f"w{i} w{i + 1}", "answer": f"w{i % 2}", "gold": i % 3} for i in range(12)]
NUMBERS = "(w[0-9])"
FILTERS = [
    {"name": "last", "filter": [{"function": "regex", "regex_pattern": NUMBERS, "group_select": -1},
                                {"function": "take_first"}]},
    {"name": "first", "filter": [{"function": "regex", "regex_pattern": NUMBERS},
                                 {"function": "take_first"}]},
]  # fmt: skip
MAJORITY = [{"name": "vote", "filter": [{"function": "regex", "regex_pattern": NUMBERS},
                                        {"function": "majority_vote"},
                                        {"function": "take_first"}]}]  # fmt: skip
GENERATES: Source = {"output_type": "generate_until", "doc_to_target": "{{answer}}",
                     "generation_kwargs": {"until": ["@@"], "max_gen_toks": 8}}  # fmt: skip
CHOOSES: Source = {"output_type": "multiple_choice", "doc_to_target": "{{gold}}",
                   "doc_to_choice": ["w3", "w4 w5", "w6"]}  # fmt: skip
KINDS: Mapping[str, Source] = {
    "filters": GENERATES | {"metrics": ["exact_match"], "filter_list": FILTERS},
    "repeats": GENERATES | {"metrics": ["exact_match"], "filter_list": MAJORITY, "repeats": 3},
    "plain": GENERATES | {"metrics": ["exact_match"]},
    "choices": CHOOSES | {"metrics": ["acc", "acc_norm", "exact_match"]},
    "mutual": CHOOSES | {"metrics": ["acc", "acc_mutual_info"]},
    "continuation": {"output_type": "loglikelihood", "doc_to_target": "{{answer}}",
                     "metrics": ["acc"]},
}  # fmt: skip


class Oracle:
    """Stands for an engine: a request's answer depends on nothing but the request."""

    max_model_len = 256

    def __init__(self, *, votes: bool = False) -> None:
        self._votes = votes

    def generate(self, generations: Sequence[Generation]) -> list[Completion]:
        return [self._completion(*one) for one in enumerate(generations)]

    def _completion(self, draw: int, asked: Generation) -> Completion:
        seed = zlib.crc32(repr((asked.prompt, draw)).encode())
        texts = tuple(
            f"w{seed >> k & 1}{f' then w{seed >> k + 1 & 1}' * (seed % 3)}" for k in range(3)
        )
        return Completion(texts[0], (9,), ballots=texts if self._votes else ())

    def score(self, requests: Sequence[Request]) -> list[Score]:
        seeds = [zlib.crc32(repr(tuple(one)).encode()) for one in requests]
        return [Score(-1e-3 * (seed % 5_000) / 7, seed % 2 == 0) for seed in seeds]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from checkpoint_makers import make_tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    made = make_tokenizer()
    made.chat_template = "{% for one in messages %}<s> {{ one['content'] }}{% endfor %}"
    made.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def entry(rows: Path, kind: Source, **fields: Any) -> tuple[Task, list[Source]]:
    """A task's entry and its source; its filter is the first."""
    keys = dict(kind)
    metrics = keys.pop("metrics")
    source = {
        "task": "free", "dataset_path": "json", "test_split": "test",
        "dataset_kwargs": {"data_files": {"test": str(rows)}}, "doc_to_text": "{{question}}",
        "metric_list": [{"metric": one, "aggregation": "mean", "higher_is_better": True}
                        for one in metrics],
    } | keys  # fmt: skip
    filters = keys.get("filter_list") or [{"name": "none"}]
    task = Task(**{
        "name": "free", "lm_eval": "./free.yaml", "scale": "public", "domain": "prose",
        "output_type": source["output_type"], "primary_metric": metrics[0],
        "filter": filters[0]["name"],
    } | fields)  # fmt: skip
    return task, [source]


def evaluated(asked: tuple[Task, list[Source]], tokenizer: Path, oracle: Oracle) -> TaskResult:
    from melange.harness.evaluators.lm_eval import LmEvalEvaluator

    evaluator = LmEvalEvaluator({"free": asked}, tokenizer, limit=None, seed=0)
    (result,) = evaluator.evaluate(oracle, ["free"])  # type: ignore[arg-type]
    return result


ONE = Candidate(name="a", family="single", recipe=Weights(method="checkpoint", inputs=("a",)))


def stored(folder: Path, task: Task, result: TaskResult) -> RunFolder:
    """A run of one cell."""
    run = RunFolder(folder)
    run.prepare()
    run.write_samples(ONE.name, task.name, result.samples)
    run.append(scored_records(ONE, task, result, "1 of 12 prompts"))
    run.write_manifest({
        "schema_version": SCHEMA_VERSION, "seed": 0, "limit": None,
        "candidates": [ONE.model_dump(mode="json")], "tasks": [task.model_dump(mode="json")],
        "task_definitions": {"free": "before"},
    })  # fmt: skip
    return run


def rescored(
    run: RunFolder, asked: tuple[Task, list[Source]], definition: str = "before"
) -> Rescored:
    now = Inputs({}, {"free": definition}, {})
    return Rescoring(read_run(run.path), run, {"free": asked}, now, lambda task: "").run()


def current(run: RunFolder) -> list[Measurement]:
    return [one for one in read_run(run.path).measurements if one.value is not None]


def sample_bytes(run: RunFolder) -> bytes:
    return (run.path / "samples" / "a" / "free.parquet").read_bytes()


@pytest.mark.parametrize("chat", [False, True], ids=["", "chat"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_unchanged_run_keeps_its_values_samples_and_intervals(
    kind: str, chat: bool, rows: Path, tokenizer: Path, tmp_path: Path
) -> None:
    asked = entry(rows, KINDS[kind], chat=chat)
    oracle = Oracle(votes=kind == "filters")
    run = stored(tmp_path, asked[0], evaluated(asked, tokenizer, oracle))
    before, samples = current(run), sample_bytes(run)
    assert 0 < (before[0].value or 0) < 1
    assert rescored(run, asked) == Rescored(done=[("a", "free")])
    assert current(run) == before
    assert sample_bytes(run) == samples
    assert run.completed() == {("a", "free")}


@pytest.mark.parametrize(
    ("kind", "change"),
    [("filters", {"filter": "first"}),
     ("filters", {"metric_list": [{"metric": "exact_match", "regexes_to_ignore": ["w[01]"]}]}),
     ("repeats", {"filter_list": FILTERS[1:], "filter": "first"}),
     ("plain", {"filter_list": FILTERS, "filter": "last"}),
     ("choices", {"metrics": ["acc_norm"], "primary_metric": "acc_norm"}),
     ("mutual", {"primary_metric": "acc_mutual_info"}),
     ("choices", {"doc_to_target": "{{(gold + 1) % 3}}"})],
)  # fmt: skip
def test_after_a_change_of_scoring_it_is_as_a_fresh_evaluation(
    kind: str, change: dict[str, Any], rows: Path, tokenizer: Path, tmp_path: Path
) -> None:
    own = {name: change.pop(name) for name in ("filter", "primary_metric") if name in change}
    asked, now = entry(rows, KINDS[kind]), entry(rows, KINDS[kind] | change, **own)
    oracle = Oracle(votes=kind == "filters")
    run = stored(tmp_path / "old", asked[0], evaluated(asked, tokenizer, oracle))
    fresh = stored(tmp_path / "new", now[0], evaluated(now, tokenizer, oracle))
    assert sample_bytes(run) != sample_bytes(fresh)
    assert rescored(run, now, "after").done == [("a", "free")]
    assert current(run) == current(fresh)
    assert sample_bytes(run) == sample_bytes(fresh)
    manifest = run.manifest()
    assert manifest is not None
    assert (manifest.tasks, manifest.task_definitions) == ((now[0],), {"free": "after"})
    assert [one["tasks"] for one in manifest.rescored] == [["free"]]


@pytest.mark.parametrize(
    ("change", "said"),
    [({"doc_to_text": "{{question}}?"}, "example 0: the task now has another prompt"),
     ({"generation_kwargs": {"until": ["@@"], "max_gen_toks": 9}},
      "example 0: the task now asks for other continuations, or with other settings"),
     ({"filter_list": FILTERS[1:]}, "it has no filter 'last'; it has first")],
)  # fmt: skip
def test_what_the_kept_answers_cannot_give_is_said_and_stays_as_it_is(
    change: dict[str, Any], said: str, rows: Path, tokenizer: Path, tmp_path: Path
) -> None:
    asked = entry(rows, KINDS["filters"])
    run = stored(tmp_path, asked[0], evaluated(asked, tokenizer, Oracle()))
    before, samples = current(run), sample_bytes(run)
    names = {"filter": "last", "primary_metric": "exact_match"}
    outcome = rescored(run, entry(rows, KINDS["filters"] | change, **names), "after")
    assert not outcome.done
    assert said in outcome.left["a", "free"]
    assert (current(run), sample_bytes(run)) == (before, samples)


def test_samples_of_an_earlier_version_are_refused(
    rows: Path, tokenizer: Path, tmp_path: Path
) -> None:
    asked = entry(rows, KINDS["plain"])
    result = evaluated(asked, tokenizer, Oracle())
    older = result.samples._replace(asked=[""] * len(ROWS))
    run = stored(tmp_path, asked[0], result._replace(samples=older))
    assert "by a version that did not keep all" in rescored(run, asked).left["a", "free"]


def test_each_filter_s_answer_and_all_texts_are_kept(rows: Path, tokenizer: Path) -> None:
    for one in evaluated(entry(rows, KINDS["filters"]), tokenizer, Oracle()).samples.rows():
        words = one.answer.split()
        assert one.filtered == {"last": words[-1], "first": words[0]}
        assert one.response == words[-1]
    (first, *_) = evaluated(entry(rows, KINDS["repeats"]), tokenizer, Oracle()).samples.rows()
    assert first.texts is not None
    assert len(first.texts) == 3
    assert first.texts[0] == first.answer


def test_a_filter_or_a_metric_that_the_task_lacks_is_a_hole_that_names_those_it_has(
    rows: Path, tokenizer: Path, tmp_path: Path
) -> None:
    asked = entry(rows, KINDS["filters"], filter="strict")
    result = evaluated(asked, tokenizer, Oracle())
    assert hole(asked[0], result) == "it has no filter 'strict'; it has last, first"
    asked = entry(rows, KINDS["choices"], primary_metric="accuracy")
    result = evaluated(asked, tokenizer, Oracle())
    said = "it has no metric 'accuracy'; it has acc, acc_norm, exact_match"
    assert hole(asked[0], result) == said
    assert len(result.samples.answer) == len(ROWS)


def test_an_answer_that_could_not_be_scored_is_scored_once_its_entry_is_mended(
    rows: Path, tokenizer: Path, tmp_path: Path
) -> None:
    wrong = entry(rows, KINDS["filters"], filter="strict")
    result = evaluated(wrong, tokenizer, Oracle())
    run = stored(tmp_path, wrong[0], result)
    failed = {"value": None, "outcome": Outcome.FAILED, "n": len(ROWS), "ci_low": None}
    lines = [one.model_copy(update=failed) for one in run.measurements()[:1]]
    run.append(one.model_copy(update={"metric": "exact_match"}) for one in lines)
    mended = entry(rows, KINDS["filters"])
    assert rescored(run, mended, "after").done == [("a", "free")]
    fresh = stored(tmp_path / "new", mended[0], evaluated(mended, tokenizer, Oracle()))
    assert sample_bytes(run) == sample_bytes(fresh)


def test_cells_that_stay_behind_a_changed_task_are_withdrawn(
    rows: Path, tokenizer: Path, tmp_path: Path
) -> None:
    asked = entry(rows, KINDS["filters"])
    result = evaluated(asked, tokenizer, Oracle())
    run, two = stored(tmp_path, asked[0], result), ONE.model_copy(update={"name": "b"})
    run.append(scored_records(two, asked[0], result, ""))
    manifest = run.manifest()
    assert manifest is not None
    pair = [one.model_dump(mode="json") for one in (ONE, two)]
    run.write_manifest(manifest.model_dump(mode="json") | {"candidates": pair})
    outcome = rescored(run, entry(rows, KINDS["filters"], filter="first"), "after")
    assert outcome.done == [("a", "free")]
    assert outcome.left == {("b", "free"): "no samples were kept for this cell"}
    behind = {one.reason for one in read_run(run.path).measurements if one.candidate == "b"}
    assert behind == {CHANGED}
    assert run.completed() == {("a", "free")}
