"""The queue hands out every candidate once, with as few changes of a slot's engine as possible."""

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from queued import prepared, shaped

from melange.harness.executors.queue import WORTH_AN_ENGINE, Queue
from melange.harness.loads import Load
from melange.harness.prepare import in_order
from melange.harness.records import EngineShape


@dataclass(frozen=True, slots=True)
class Job:
    number: int
    shape: EngineShape
    load: Load = field(default_factory=lambda: Load(Path()))


jobs = st.lists(st.sampled_from("abc"), max_size=20).map(
    lambda names: [Job(number, shaped(name)) for number, name in enumerate(names)]
)


def drain(queue: Queue[Job], order: list[int]) -> list[list[Job]]:
    """Slots ask in this order, repeatedly, until nothing is left for either."""
    taken: list[list[Job]] = [[], []]
    asking = {0, 1}
    while asking:
        for slot in order:
            if slot in asking:
                job = queue.next(slot)
                if job is None:
                    asking.discard(slot)
                else:
                    taken[slot].append(job)
    return taken


@given(jobs, st.permutations([0, 1]))
def test_every_job_is_handed_out_once(members: list[Job], order: list[int]) -> None:
    taken = drain(Queue(members), order)
    assert sorted(job.number for one in taken for job in one) == [job.number for job in members]


@given(jobs, st.permutations([0, 1]))
def test_a_slot_finishes_a_shape_before_it_takes_another(
    members: list[Job], order: list[int]
) -> None:
    for one in drain(Queue(members), order):
        changes = sum(left.shape != right.shape for left, right in pairwise(one))
        assert changes < max(1, len({job.shape for job in one}))


def test_a_second_engine_of_a_shape_starts_only_where_it_is_worth_it() -> None:
    few = Queue([Job(number, shaped("a")) for number in range(WORTH_AN_ENGINE)])
    assert few.next(0) is not None
    assert few.next(1) is None
    many = Queue([Job(number, shaped("a")) for number in range(WORTH_AN_ENGINE + 1)])
    assert many.next(0) is not None
    assert many.next(1) is not None


def test_what_is_put_in_later_goes_first_to_the_slot_that_has_its_weights() -> None:
    """A candidate that failed is tried again, task by task, in the same engine."""
    first, *rest = [Job(number, shaped("a")) for number in range(WORTH_AN_ENGINE + 1)]
    queue = Queue([first, *rest])
    assert queue.next(0) is first
    again = Job(9, first.shape, first.load)
    queue.put([again])
    assert queue.next(1) is rest[0]
    assert queue.next(0) is again


def test_a_closed_queue_hands_out_no_more() -> None:
    queue = Queue([Job(number, shaped("a")) for number in range(3)])
    assert queue.next(0) is not None
    assert [job.number for job in queue.close()] == [1, 2]
    assert queue.next(0) is None


def test_families_are_through_one_after_the_other_and_no_shape_is_taken_up_twice() -> None:
    """As in jan2024: checkpoints of all shapes, averages and merges of the large shape."""
    members = [prepared(f"checkpoint-{n}", "single", "abc"[n % 3], 2) for n in range(9)]
    members += [prepared(f"merge-{n}", "merging", "a", 2) for n in range(12)]
    members += [prepared(f"average-{n}", "averaging", "a", 2) for n in range(3)]
    members += [prepared(f"mix-{n}", "proxy", "d", 1) for n in range(4)]
    order = in_order(members)
    shapes = [one.shape.signature for one in order]
    assert [left for left, right in pairwise(shapes) if left != right] == ["a", "b", "c"]
    families = [one.candidate.family for one in order if one.shape.signature == "a"]
    assert families == ["averaging"] * 3 + ["merging"] * 12 + ["single"] * 3


@given(st.lists(st.tuples(st.sampled_from("fgh"), st.sampled_from("abc")), max_size=20))
def test_the_order_leaves_nobody_out(kinds: list[tuple[str, str]]) -> None:
    members = [prepared(str(at), *kind) for at, kind in enumerate(kinds)]
    assert sorted(one.candidate.name for one in in_order(members)) == sorted(
        one.candidate.name for one in members
    )
