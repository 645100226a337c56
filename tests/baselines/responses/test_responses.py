"""Voting and blending combine several models' answers."""

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seats import Seats
from zoo_of_folders import FolderZoo, candidates_of, checkpoints_of, plan_of

from melange.baselines.responses.blending import drawn_part, mean_of_probabilities
from melange.baselines.responses.voting import elected
from melange.harness.errors import HarnessError
from melange.harness.recipe import Recipe, UnknownRecipe
from melange.harness.records import Candidate, EngineOptions, Outcome, Suite, Task
from melange.harness.requests import Completion, Generation, Request
from melange.harness.runs.current import current

ROLES = ("large_knowledge", "large_arithmetic", "large_instructions")
VOTE = {"method": "vote", "models": list(ROLES)}
BLEND = {"method": "blend", "models": list(ROLES)}


def candidate(entry: Mapping[str, Any]) -> Candidate:
    (found,) = candidates_of([entry], ROLES)
    return found


@pytest.mark.parametrize(
    ("texts", "winner"),
    [(["a", "b", "b"], "b"), (["a", "b", "c"], "a"), (["b", " a", "a "], " a"), (["a"], "a")],
)
def test_most_votes_win_and_of_equally_many_the_earliest(texts: list[str], winner: str) -> None:
    found = elected([Completion(text, ()) for text in texts])
    assert found.text == winner
    assert found.ballots == tuple(texts)


def test_a_choice_is_elected_among_those_of_its_context() -> None:
    recipe: Any = candidate(VOTE).recipe
    batch = [Request((1,), (7,)), Request((1,), (8,)), Request((2,), (7,)), Request((2,), (8,))]
    scores = [[-1.0, -2.0, -9.0, -8.0], [-3.0, -1.0, -9.0, -8.0], [-1.0, -5.0, -2.0, -8.0]]
    found = recipe.score(Seats(scores=scores), batch)
    assert [one.greedy for one in found] == [True, False, False, True]
    assert [one.logprob for one in found] == [0.0, -1e6, -1e6, 0.0]


def test_draws_of_one_model_differ_in_their_seeds_and_repeat() -> None:
    entry = {"method": "vote", "models": "large_mix", "draws": 3, "temperature": 0.7}
    recipe: Any = candidate({**entry, "models": ["large_mix"]}).recipe
    seats, again = Seats(texts=["a"] * 3), Seats(texts=["a"] * 3)
    for each in (seats, again):
        recipe.generate(each, [Generation((1, 2), 4), Generation((1, 3), 4)])
    assert len({one.seed for one in seats.asked}) == 6
    assert seats.asked == again.asked
    assert {one.temperature for one in seats.asked} == {0.7}


@given(st.lists(st.floats(-50, 0), min_size=1, max_size=5))
def test_the_mean_of_probabilities_is_exact(logprobs: list[float]) -> None:
    expected = math.log(math.fsum(map(math.exp, logprobs)) / len(logprobs))
    assert mean_of_probabilities(logprobs) == pytest.approx(expected, abs=1e-9)


def test_a_blend_asks_one_part_for_each_response() -> None:
    recipe: Any = candidate(BLEND).recipe
    batch = [Generation((number,), 4) for number in range(300)]
    seats = Seats(texts=["a", "b", "c"])
    said = [one.text for one in recipe.generate(seats, batch)]
    assert said == ["abc"[drawn_part(one, 3)] for one in batch]
    assert len(seats.asked) == len(batch)
    assert all(60 < said.count(text) < 140 for text in "abc")


TASKS = {
    name: Task(name=name, lm_eval=name, scale="pocket", domain="quiz", output_type=kind,
               primary_metric="acc", sums_probabilities=name == "mc2")
    for name, kind in (("mc", "multiple_choice"), ("mc2", "multiple_choice"),
                       ("perplexity", "loglikelihood"), ("text", "generate_until"))
}  # fmt: skip


def test_a_vote_is_not_asked_for_probabilities() -> None:
    suite = Suite(name="s", tasks={"pocket": ("*",)}, candidates=(VOTE, BLEND))
    plan = plan_of(suite, FolderZoo(dict.fromkeys(ROLES)), TASKS)
    refused = {cell.task: cell.refused for cell in plan.cells if cell.refused}
    assert {cell.candidate for cell in plan.cells if cell.refused} == {"vote-3"}
    assert refused == {
        name: f"{name} asks for log-probabilities, which a vote does not give"
        for name in ("mc2", "perplexity")
    }


def test_parts_of_different_tokenizers_are_refused(
    zoo_folders: Mapping[str, Path], tmp_path: Path
) -> None:
    folders = {"a": zoo_folders["small_mix"], "b": tmp_path / "b"}
    shutil.copytree(folders["a"], folders["b"])
    settings = json.loads((folders["b"] / "tokenizer_config.json").read_text())
    settings["tokenizer_class"] = "Qwen2Tokenizer"  # splits digits differently
    (folders["b"] / "tokenizer_config.json").write_text(json.dumps(settings))
    (other,) = candidates_of([{"method": "vote", "models": ["a", "b"]}], ["a", "b"])
    with pytest.raises(HarnessError, match="a and b have different tokenizers"):
        other.recipe.check(checkpoints_of(folders))


def test_a_recipe_is_its_json_whatever_its_kind() -> None:
    for entry in (VOTE, BLEND):
        found = candidate(entry)
        again = Candidate.model_validate_json(found.model_dump_json())
        assert again == found
        assert isinstance(again.recipe, Recipe.kinds[found.recipe.kind])
    assert [part.inputs for part in candidate(VOTE).recipe.parts] == [(role,) for role in ROLES]  # type: ignore[attr-defined]


def test_a_kind_that_a_later_version_wrote_is_shown_and_not_run() -> None:
    later = {"name": "x", "family": "y", "recipe": {"kind": "swarm", "method": "z", "size": 3}}
    found = Candidate.model_validate(later)
    assert isinstance(found.recipe, UnknownRecipe)
    assert found.model_dump(mode="json")["recipe"] == later["recipe"]
    assert "kind 'swarm', which this version does not know" in found.recipe.describe().title
    with pytest.raises(HarnessError, match="'swarm'"):
        found.recipe.check(checkpoints_of({}))


PANEL = ("small_mix", "large_mix", "large_base")
"""Models of two sizes, so that one process has two engines."""
ASKED = ("pocket_arithmetic", "pocket_mc_trade")


@pytest.fixture(scope="module")
def entries(pocket_rows: Path) -> Mapping[str, Any]:
    from melange.tasks.registry import load_tasks
    from melange.tasks.sources import task_sources

    known = load_tasks()
    sources = task_sources([known[name] for name in ASKED], pocket_rows)
    return {name: (known[name], sources[name]) for name in ASKED}


@pytest.fixture(scope="module")
def prepared(zoo_folders: Mapping[str, Path]) -> Any:
    from melange.harness.engine_shapes import shape_of
    from melange.harness.loads import Load
    from melange.harness.prepare import prepare

    def on_a_cpu(served: Any, load: Load, options: EngineOptions) -> Any:
        return shape_of(served, load.start, "cpu", options)

    (vote,) = candidates_of([{"method": "vote", "models": list(PANEL)}], PANEL)
    folders = {role: zoo_folders[role] for role in PANEL}
    return prepare(vote, checkpoints_of(folders), EngineOptions(), on_a_cpu)


@pytest.mark.slow
def test_a_panel_answers_with_what_each_of_its_models_says_alone(
    prepared: Any, entries: Mapping[str, Any]
) -> None:
    """Votes are counted on extracted answers; the chains of thought differ."""
    from melange.harness.executors.jobs import Evaluate, Evaluated, TaskSet, Time
    from melange.harness.executors.worker import Worker
    from melange.harness.records import Workload

    assert len({seat.shape for seat in prepared.load.seats}) == 2
    worker, alone = Worker(TaskSet(entries, 20, 0)), {}
    for seat, role in zip(prepared.load.seats, PANEL, strict=True):
        alone[role] = answers(worker.do(Evaluate(seat.load, seat.shape, ASKED)))
    together = answers(worker.do(Evaluate(prepared.load, prepared.shape, ASKED)))
    for task in ASKED:
        each = zip(*(alone[role][task] for role in PANEL), strict=True)
        expected = [elected([Completion(text, ()) for text in texts]) for texts in each]
        assert [text.strip() for text in together[task]] == [one.text.strip() for one in expected]
    load = Workload(name="w", prompt_tokens=8, output_tokens=8, num_requests=2)
    timed: Any = worker.do(Time(prepared.load, prepared.shape, [load], 0))
    assert_says_what_it_lacks(prepared, load, timed)
    assert timed.rounds["w"].output_tokens == 16
    assert set(timed.rounds["w"].readings["latency_sec"]) == {timed.rounds["w"].wall_sec}
    seat = prepared.load.seats[0]
    reply = worker.do(Evaluate(seat.load, seat.shape, ["pocket_mc_trade"]))
    assert isinstance(reply, Evaluated)
    worker.leave()


def assert_says_what_it_lacks(prepared: Any, load: Any, timed: Any) -> None:
    from melange.harness.costs import cost_records

    held = current(cost_records(prepared, [timed], []))
    skipped = {(one.metric, one.workload) for one in held if one.outcome is Outcome.SKIPPED}
    assert skipped == {
        ("decode_tokens_per_sec", "w"), ("peak_memory_bytes", None), ("beyond_base_sec", None)
    }  # fmt: skip
    assert held[-1].outcome is Outcome.COMPLETED, "or the cell would not be done"
    values = {one.metric: one.value for one in held}
    assert values["total_tokens_per_sec"]
    assert "build_sec" not in values


def answers(reply: Any) -> dict[str, list[str]]:
    """Answers extracted from each response, by task."""
    return {one.task: list(one.samples.response) for one in reply.results}
