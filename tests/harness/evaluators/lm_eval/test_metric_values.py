"""Values of metrics, means or not, are lm-eval's own on the same answers."""

import contextlib
import io
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml

from melange.harness.errors import HarnessError
from melange.harness.measure.quality import quality_records
from melange.harness.recipes.weights import Weights
from melange.harness.records import Candidate, Measurement, Task
from melange.harness.requests import Completion, Generation, Request, Score
from melange.harness.samples import TaskResult
from melange.tasks.registry import declared

pytestmark = pytest.mark.slow

NUM_ROWS = 24
WORDS = ["heron", "river", "boat", "lamp", "oak", "ash", "gold", "night", "tower", "cart"]
SOUP = Candidate(name="soup", family="merging", recipe=Weights(method="soup", inputs=("a",)))


def chance(*parts: Any) -> float:
    """A fixed number in [0, 1) for these."""
    return zlib.crc32(repr(parts).encode()) % 9973 / 9973


class Dice:
    """Stands for an engine that gives each token a fixed probability; `skill` raises all."""

    max_model_len = 64

    def __init__(self, skill: float = 0.0) -> None:
        self.skill = skill

    def score(self, requests: Sequence[Request]) -> list[Score]:
        return [
            Score(sum((1 - self.skill) * 5 * (chance(one, at) - 1)
                      for at in range(len(one.continuation))), chance(one) < 0.5)
            for one in requests
        ]  # fmt: skip

    def generate(self, generations: Sequence[Generation]) -> list[Completion]:
        return [
            Completion(" ".join(WORDS[int(10 * chance(one.prompt, at))] for at in range(8)), (9,))
            for one in generations
        ]


class Kind(NamedTuple):
    """A kind of lm-eval task, with the metrics that it can have."""

    output_type: str
    metrics: Sequence[str]
    keys: Mapping[str, Any]


KINDS = [
    Kind("loglikelihood", ["perplexity", "acc"],
         {"doc_to_text": "{{start}}", "doc_to_target": " {{end}}"}),
    Kind("loglikelihood_rolling", ["word_perplexity", "byte_perplexity", "bits_per_byte"],
         {"doc_to_text": "", "doc_to_target": "{{start}} {{end}}"}),
    Kind("multiple_choice", ["acc", "f1", "mcc", "brier_score"],
         {"doc_to_text": "{{start}}", "doc_to_target": "label", "doc_to_choice": ["no", "yes"]}),
    Kind("generate_until", ["bleu", "chrf", "ter", "exact_match"],
         {"doc_to_text": "{{start}}", "doc_to_target": "{{end}}",
          "generation_kwargs": {"until": ["\n"], "max_gen_toks": 16}}),
]  # fmt: skip
CASES = [(kind, metric) for kind in KINDS for metric in kind.metrics]


def rows() -> list[dict[str, Any]]:
    """Lengths and clusters differ."""

    def text(at: int, side: str) -> str:
        words = [WORDS[int(10 * chance(at, side, n))] for n in range(3 + at % 7)]
        return " ".join(words)

    return [{"start": text(at, "start"), "end": text(at, "end"), "label": at % 2,
             "story": f"story {at // 2}"} for at in range(NUM_ROWS)]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer and rows."""
    from checkpoint_makers import make_tokenizer

    folder = tmp_path_factory.mktemp("metrics")
    make_tokenizer(WORDS).save_pretrained(folder)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    return folder


def definition(kind: Kind, place: Path, **keys: Any) -> dict[str, Any]:
    return {
        "task": f"try_{kind.output_type}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(place / "rows.jsonl")}},
        "test_split": "test",
        "output_type": kind.output_type,
        "metric_list": [{"metric": name} for name in kind.metrics],
        **kind.keys,
        **keys,
    }


def task_of(kind: Kind, metric: str, **keys: Any) -> Task:
    fields = {"primary_metric": metric, "cluster_by": "story", **keys}
    return Task(name="try", lm_eval="./try.yaml", scale="public", domain="prose",
                output_type=kind.output_type, **declared(fields, "try"))  # fmt: skip


def evaluated(task: Task, source: dict[str, Any], place: Path, skill: float = 0.0) -> TaskResult:
    from melange.harness.evaluators.lm_eval import LmEvalEvaluator

    evaluator = LmEvalEvaluator({"try": (task, [source])}, place, limit=None, seed=0)
    (result,) = evaluator.evaluate(Dice(skill), ["try"])  # type: ignore[arg-type]
    return result


def recorded(task: Task, result: TaskResult) -> Measurement:
    """Of the primary metric."""
    return quality_records(SOUP, task, result)[0]


@pytest.fixture(scope="module")
def theirs(place: Path) -> Callable[[Kind], Mapping[str, Any]]:
    """lm-eval's results with the same model."""
    import lm_eval
    from lm_eval.tasks import TaskManager
    from transformers import AutoTokenizer

    from melange.harness.evaluators.lm_eval import SessionLM

    def found(kind: Kind) -> Mapping[str, Any]:
        path = place / f"{kind.output_type}.yaml"
        path.write_text(yaml.safe_dump(definition(kind, place)))
        model = SessionLM(Dice(), AutoTokenizer.from_pretrained(place), 0)  # type: ignore[arg-type]
        with contextlib.redirect_stderr(io.StringIO()):
            told = lm_eval.simple_evaluate(
                model=model, tasks=[str(path)], bootstrap_iters=0,
                task_manager=TaskManager(include_defaults=False),
            )  # fmt: skip
        (results,) = told["results"].values()
        return dict(results)

    return found


@pytest.mark.parametrize(("kind", "metric"), CASES, ids=lambda case: str(case).split("(")[0])
def test_a_metrics_value_is_lm_evals_with_an_interval_around_it(
    kind: Kind, metric: str, place: Path, theirs: Callable[[Kind], Mapping[str, Any]]
) -> None:
    task = task_of(kind, metric)
    result = evaluated(task, definition(kind, place), place)
    line = recorded(task, result)
    assert line.value == pytest.approx(theirs(kind)[f"{metric},none"], rel=1e-9)
    assert line.metric == metric
    assert line.n == NUM_ROWS == len(result.samples.score)
    assert np.mean(result.samples.score) == pytest.approx(line.value, rel=1e-9)
    assert line.ci_low is not None
    assert line.ci_high is not None
    assert line.ci_low <= line.value <= line.ci_high
    assert line.ci_low < line.ci_high


def test_the_model_with_the_lower_perplexity_is_the_better_one(place: Path) -> None:
    for kind, metric in [(KINDS[0], "perplexity"), *((KINDS[1], one) for one in KINDS[1].metrics)]:
        task = task_of(kind, metric)
        good, bad = (recorded(task, evaluated(task, definition(kind, place), place, skill))
                     for skill in (0.5, 0.0))  # fmt: skip
        assert good.value < bad.value
        assert good.higher_is_better is False
        assert good.unit != "fraction"


def test_another_metrics_unit_and_direction_are_its_own(place: Path) -> None:
    task = task_of(KINDS[0], "acc")
    lines = quality_records(SOUP, task, evaluated(task, definition(KINDS[0], place), place))
    assert [(one.metric, one.unit, one.higher_is_better) for one in lines] == [
        ("acc", "fraction", True), ("perplexity", "perplexity", False),
    ]  # fmt: skip


def test_an_aggregation_that_is_not_known_leaves_no_value(place: Path) -> None:
    entry = {"metric": "acc", "aggregation": "median", "higher_is_better": True}
    source = definition(KINDS[2], place, metric_list=[entry])
    with pytest.raises(HarnessError, match="acc is neither a mean over examples nor"):
        evaluated(task_of(KINDS[2], "acc"), source, place)


def test_a_formula_is_the_mean_of_two_metrics(place: Path) -> None:
    kind = KINDS[2]
    task = task_of(kind, "mean(acc, f1)")
    lines = {one.metric: one for one in quality_records(
        SOUP, task, evaluated(task, definition(kind, place), place))}  # fmt: skip
    both = (lines["acc"].value + lines["f1"].value) / 2
    assert lines["mean(acc, f1)"].value == pytest.approx(both)
    assert task.unit == "fraction"


def test_a_normalized_score_is_0_at_chance_and_1_at_best(place: Path) -> None:
    kind = KINDS[2]
    task = task_of(kind, "normalized(acc)", chance=0.25)
    lines = {one.metric: one for one in quality_records(
        SOUP, task, evaluated(task, definition(kind, place), place))}  # fmt: skip
    raw = lines["acc"].value
    assert lines["normalized(acc)"].value == pytest.approx(max(0, (raw - 0.25) / 0.75))
    above = task_of(kind, "normalized(acc)", chance=0.99)
    found = recorded(above, evaluated(above, definition(kind, place), place))
    assert found.value == 0
    assert found.ci_high > 0


def test_parts_are_normalized_by_their_own_chances(place: Path) -> None:
    from melange.harness.evaluators.lm_eval.metric_values import over_parts
    from melange.harness.task_metrics import formula

    task = task_of(KINDS[2], "normalized(acc)", part_chances={"a": 0.5, "b": 0.2})
    scores_N = np.array([1, 1, 1, 0, 0, 0, 0, 0, 1])
    names = ["a"] * 4 + ["b"] * 5
    # (0.75 - 0.5) / 0.5 and, at chance, 0: the leaderboard's own example in its documentation.
    assert over_parts(formula(task.primary_metric), task, scores_N, names).value == 0.25
    macro = over_parts(formula("macro(acc)"), task, scores_N, names)
    assert macro.value == pytest.approx((0.75 + 0.2) / 2)
    with pytest.raises(HarnessError, match="part_chances has no c"):
        over_parts(formula(task.primary_metric), task, scores_N, [*names[:-1], "c"])
