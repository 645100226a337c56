"""The queue hands out every candidate once, and changes a slot's engine as rarely as it can."""

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from harness.engine_pool import WORTH_AN_ENGINE, Queue
from harness.records import EngineShape


@dataclass(frozen=True, slots=True)
class Job:
    number: int
    shape: EngineShape


def shaped(name: str) -> EngineShape:
    return EngineShape(signature=name, max_model_len=8)


jobs = st.lists(st.sampled_from("abc"), max_size=20).map(
    lambda names: [Job(number, shaped(name)) for number, name in enumerate(names)]
)


def drain(queue: Queue[Job], order: list[int]) -> list[list[Job]]:
    """Slots ask in this order, over and over, until both were told that nothing is left."""
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
