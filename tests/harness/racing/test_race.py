"""Batches have the same share of each task, and a race stops the candidates that are behind."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melange.harness.errors import HarnessError
from melange.harness.executors.jobs import Evaluated
from melange.harness.racing.answers import Answers
from melange.harness.racing.batches import batches, places
from melange.harness.racing.evaluation import check_means
from melange.harness.racing.race import Batch, Race
from melange.harness.records import Task
from melange.harness.samples import SampleColumns, SampleRow, TaskResult

CLUSTERS = {
    "facts": [f"fact {n // 2}" for n in range(200)],
    "shifted": [f"fact {n}" for n in range(50, 150)],
    "sums": [""] * 100,
}


@settings(max_examples=20)
@given(st.integers(0, 99))
def test_a_batch_has_its_share_of_each_task_and_whole_clusters(seed: int) -> None:
    at = places(CLUSTERS, seed)
    seen: dict[str, set[int]] = {}
    for number, share in enumerate(batches()):
        for task, place_N in at.items():
            asked = share.of(place_N)
            expected = len(place_N) * (share.end - share.begin)
            assert abs(len(asked) - expected) <= 5
            for n in asked:
                seen.setdefault(CLUSTERS[task][n] or f"{task} {n}", set()).add(number)
    assert {len(numbers) for numbers in seen.values()} == {1}
    assert len(seen) == 50 + 50 + 50 + 100


def test_the_seed_alone_decides_the_order() -> None:
    first, again, other = (places(CLUSTERS, seed)["facts"].tolist() for seed in (0, 0, 1))
    assert first == again != other


def raced(truth: dict[str, float], num_examples: int, top: int = 1) -> Race:
    rng = np.random.default_rng(0)
    race = Race(list(truth), top=top)
    for share in batches():
        size = round(num_examples * (share.end - share.begin))
        draws = {name: (rng.random(size) < truth[name]).astype(float) for name in race.racing}
        stops = race.add({"task": Batch([""] * size, draws)}, share.end)
        for one in stops.values():
            assert one.log10_e_value >= one.log10_needed
            assert one.behind == ("best",)
            assert one.share == share.end
    return race


def test_the_best_is_left() -> None:
    assert raced({"best": 0.9, "good": 0.8, "bad": 0.2}, 3000).racing == ["best"]


def test_few_examples_stop_nobody() -> None:
    assert len(raced({"best": 0.9, "good": 0.8, "bad": 0.6}, 30).racing) == 3


def test_a_batch_without_examples_of_a_task_waits_for_the_next() -> None:
    race, ones, zeros = Race(["a", "b"], top=1), np.ones(60), np.zeros(60)
    full = Batch([""] * 60, {"a": ones, "b": zeros})
    empty = Batch([], {"a": ones[:0], "b": ones[:0]})
    assert race.add({"one": full, "two": empty}, 0.1) == {}
    stops = race.add({"one": full, "two": full}, 0.2)
    assert stops["b"].examples == 180
    assert race.racing == ["a"]


def test_a_candidate_that_leaves_is_neither_stopped_nor_compared() -> None:
    race, ones, zeros = Race(["a", "b", "c"], top=1), np.ones(60), np.zeros(60)
    race.leave("a")
    assert race.add({"one": Batch([""] * 60, {"b": zeros, "c": zeros})}, 0.1) == {}
    assert race.racing == ["b", "c"]
    assert race.add({"one": Batch([""] * 60, {"b": ones, "c": zeros})}, 0.2).keys() == {"c"}


def result(numbers: list[int]) -> TaskResult:
    scores = [float(n) for n in numbers]
    rows = [SampleRow(f"prompt {n}", "", "", float(n)) for n in numbers]
    return TaskResult(
        "task", {"accuracy": scores, "rare": scores[:1]}, SampleColumns.of(rows), 1,
        {"example": numbers, "margin": scores},
    )  # fmt: skip


def test_batches_are_joined_in_the_order_of_the_examples() -> None:
    answers = Answers()
    for numbers in ([3, 1], [], [2, 0]):
        answers.add(Evaluated([result(numbers)], 0.5))
    reply = answers.joined()
    (joined,) = reply.results
    assert reply.engine_sec == 1.5
    assert joined.samples.prompt == [f"prompt {n}" for n in range(4)]
    assert joined.values["accuracy"] == [0, 1, 2, 3]
    assert joined.values["rare"] == [3, 2]
    assert joined.num_cut == 3
    assert joined.columns == {"margin": [0, 1, 2, 3], "example": [0, 1, 2, 3]}


def test_a_metric_that_is_no_mean_is_not_joined() -> None:
    answers = Answers()
    for numbers in ([1], [0]):
        pooled = result(numbers)._replace(intervals={"rare": (0.0, 1.0)})
        answers.add(Evaluated([pooled], 0.5))
    (joined,) = answers.joined().results
    assert list(joined.values) == ["accuracy"]


def test_a_race_needs_means() -> None:
    task = Task(name="t", lm_eval="t", scale="public", domain="d", primary_metric="f1",
                output_type="generate_until")  # fmt: skip
    check_means([task.model_copy(update={"primary_metric": "acc"})])
    with pytest.raises(HarnessError, match="f1 is not a mean over examples"):
        check_means([task])
