"""Prompts longer than the context are cut as by lm-eval, counted, or refused."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from task_results import result_of

from melange.harness.errors import HarnessError
from melange.harness.measure.quality import quality_records
from melange.harness.recipes.weights import Weights
from melange.harness.records import Candidate, Task
from melange.harness.requests import Completion, Generation, Request, Score
from melange.harness.samples import TaskResult

pytestmark = pytest.mark.slow

WINDOW = 64
LONG, SHORT = "w1 w2 w3 w4 w5 " * 8 + "w6", "w7 w8"
"""Of 41 and 2 tokens."""
ROWS = [{"question": LONG, "answer": "w9"}, {"question": SHORT, "answer": "w9"}]


class Echo:
    """Stands for an engine: it keeps requests, and gives everything probability 1."""

    max_model_len = WINDOW

    def __init__(self) -> None:
        self.asked: list[Generation] = []
        self.scored: list[Request] = []

    def generate(self, generations: Sequence[Generation]) -> list[Completion]:
        self.asked += generations
        return [Completion("w9", (9,)) for _ in generations]

    def score(self, requests: Sequence[Request]) -> list[Score]:
        self.scored += requests
        return [Score(0.0, True) for _ in requests]


def definition(rows: Path, **keys: Any) -> dict[str, Any]:
    return {
        "task": "free",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(rows)}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        **keys,
    }


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from checkpoint_makers import make_tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer().save_pretrained(folder)
    return folder


def examine(tokenizer: Path, tmp_path: Path, engine: Echo, **keys: Any) -> TaskResult:
    import json

    from melange.harness.evaluators.lm_eval import LmEvalEvaluator

    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    source = definition(rows, **keys)
    task = Task(
        name="free",
        lm_eval="./free.yaml",
        scale="public",
        domain="prose",
        output_type=source["output_type"],
        primary_metric=source["metric_list"][0]["metric"],
    )
    one = LmEvalEvaluator({"free": (task, [source])}, tokenizer, limit=None, seed=0)
    (result,) = one.evaluate(engine, ["free"])
    return result


def new_tokens(number: int) -> Mapping[str, Any]:
    return {"generation_kwargs": {"until": ["@@"], "max_gen_toks": number, "do_sample": False}}


def test_what_does_not_fit_loses_its_beginning_as_with_lm_eval_and_is_counted(
    tokenizer: Path, tmp_path: Path
) -> None:
    from lm_eval.models.utils import maybe_truncate

    whole = Echo()
    assert examine(tokenizer, tmp_path, whole, **new_tokens(8)).num_cut == 0
    engine = Echo()
    result = examine(tokenizer, tmp_path, engine, **new_tokens(40))
    assert (result.num_cut, len(result.samples.score)) == (1, 2)
    for asked, full in zip(engine.asked, whole.asked, strict=True):
        kept = maybe_truncate(list(full.prompt), 40, WINDOW, verbose=False)
        assert (list(asked.prompt), asked.max_tokens) == kept


def test_new_tokens_that_leave_nothing_of_a_prompt_are_an_error_with_the_numbers(
    tokenizer: Path, tmp_path: Path
) -> None:
    said = "free: 64 new tokens leave no room for a prompt of 41 in a context of 64; lower"
    with pytest.raises(HarnessError, match=said):
        examine(tokenizer, tmp_path, Echo(), **new_tokens(WINDOW))


def test_a_task_that_names_no_number_gets_at_most_half_of_a_short_context(
    tokenizer: Path, tmp_path: Path
) -> None:
    engine = Echo()
    result = examine(tokenizer, tmp_path, engine, generation_kwargs={"until": ["@@"]})
    assert [len(one.prompt) for one in engine.asked] == [WINDOW // 2, 2]
    assert {one.max_tokens for one in engine.asked} == {WINDOW // 2}
    assert result.num_cut == 1


CHOICES = {"output_type": "multiple_choice",
           "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
           "doc_to_target": 0}  # fmt: skip


def test_contexts_of_choices_are_cut_and_counted_by_example(
    tokenizer: Path, tmp_path: Path
) -> None:
    engine = Echo()
    choices = ["w9 " * 30, "w10"]
    result = examine(tokenizer, tmp_path, engine, doc_to_choice=choices, **CHOICES)
    sizes = sorted((len(context), len(rest)) for context, rest in engine.scored)
    assert sizes == [(2, 1), (2, 30), (33, 30), (41, 1)]  # the engine adds a token to each
    assert result.num_cut == 1


def test_a_choice_that_leaves_nothing_of_its_context_is_an_error(
    tokenizer: Path, tmp_path: Path
) -> None:
    with pytest.raises(HarnessError, match="an answer of 63 tokens leaves no room for its prompt"):
        examine(tokenizer, tmp_path, Echo(), doc_to_choice=["w9 " * 63, "w10"], **CHOICES)


def test_the_records_bear_the_note() -> None:
    task = Task(name="free", lm_eval="free", scale="public", domain="prose",
                output_type="generate_until", primary_metric="exact_match")  # fmt: skip
    one = Candidate(name="a", family="single", recipe=Weights(method="checkpoint", inputs=("a",)))
    noted, plain = (
        quality_records(one, task, result_of({"exact_match": [0.0, 1.0]}, ["", ""]), note)
        for note in ("1 of 2 prompts", "")
    )
    assert [record.reason for record in noted] == ["1 of 2 prompts"]
    assert [record.model_copy(update={"reason": ""}) for record in noted] == plain
