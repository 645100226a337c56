"""Candidates on their tasks, side by side: nothing is timed here."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from melange.harness.contracts import Executor
from melange.harness.executors.jobs import Evaluate, Evaluated, Failed, Job, Reply, Took
from melange.harness.lost_causes import ENOUGH_ALIKE, LostCauses
from melange.harness.prepare import Prepared, by_family, in_order
from melange.harness.progress import Progress
from melange.harness.recorder import Recorder
from melange.harness.records import Plan


@dataclass(slots=True)
class Talk:
    """With one candidate, by way of the executor."""

    member: Prepared
    steps: Generator[Job, Reply, None]
    """Its jobs, each of which is answered before the next is known."""
    asked: Future[Reply] | None = None
    over: Future[None] = field(default_factory=Future)


@dataclass(slots=True)
class Evaluation:
    executor: Executor
    plan: Plan
    recorder: Recorder
    progress: Progress
    lost: LostCauses
    renew: Callable[[], None]
    """Renders the report: whenever a family is through, and more is to come."""
    _talks: list[Talk] = field(default_factory=list)
    _unfinished: Mapping[str, set[str]] = field(default_factory=dict)
    """Candidates by family."""
    _keeper: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, 1))
    """Writes results while workers are at their next jobs."""
    _took: list[Took] = field(default_factory=list)
    _kept: list[Future[None]] = field(default_factory=list)
    _stopped: bool = False
    """What fails now fails because its worker was ended."""

    def run(self, members: Sequence[Prepared]) -> None:
        """Put each member to its pending tasks; closing the executor ends what an error leaves."""
        self._unfinished = by_family(members)
        self._talks = [Talk(one, self._examine(one)) for one in in_order(members)]
        self.progress.left.num_slots = self.executor.num_slots
        self.progress.doing("evaluating", self._running)
        with self._keeper:
            try:
                self._begin()
                for over in as_completed([one.over for one in self._talks]):
                    over.result()
            except BaseException:  # Ctrl-C, or an error in one talk: the others would go on
                self._stopped = True
                raise
        for one in self._kept:
            one.result()

    @property
    def start_sec(self) -> float:
        """Until engines had started, all in all."""
        return sum(one.start_sec for one in self._took)

    def _running(self) -> Iterator[str]:
        for one in self._talks:
            if one.asked is not None and one.asked.running():
                yield one.member.candidate.name

    # Talks go on in the threads that have the replies: before a worker takes its next job.

    def _begin(self) -> None:
        first = {at: self._next(talk, None) for at, talk in enumerate(self._talks)}
        jobs = {at: job for at, job in first.items() if job is not None}
        for at, future in zip(jobs, self.executor.submit([*jobs.values()]), strict=True):
            self._wait(self._talks[at], future)

    def _wait(self, talk: Talk, asked: Future[Reply]) -> None:
        talk.asked = asked
        asked.add_done_callback(partial(self._answered, talk))

    def _answered(self, talk: Talk, asked: Future[Reply]) -> None:
        if self._stopped:
            return
        try:
            given_up = asked.cancelled()
            reply = Failed(self.lost.why(talk.member)) if given_up else asked.result()
            job = self._next(talk, reply)
            if isinstance(reply, Failed) and not given_up:
                self._cancel_lost()
            if job is not None:
                self._wait(talk, *self.executor.submit([job]))
        except BaseException as error:  # the run's, which waits for it
            talk.over.set_exception(error)

    def _next(self, talk: Talk, reply: Reply | None) -> Job | None:
        """None where the talk is over."""
        try:
            return talk.steps.send(reply)  # type: ignore[arg-type]
        except StopIteration:
            talk.over.set_result(None)
            return None

    def _cancel_lost(self) -> None:
        for one in self._talks:
            if one.asked is not None and self.lost.why(one.member):
                one.asked.cancel()

    # What is said in a talk.

    def _examine(self, member: Prepared) -> Generator[Job, Reply, None]:
        """A candidate on all its tasks."""
        tasks, took = pending_tasks(self.plan, member), list[Took]()
        reply = yield from self._ask(member, tasks, took, asked_again=len(tasks) > 1)
        if isinstance(reply, Evaluated):
            self._keep(self.recorder.keep, member.candidate, reply)
        elif isinstance(reply, Failed):
            yield from self._examine_apart(member, tasks, took, reply.reason)
        self._ended(member, len(tasks), took)
        self._keep(self._through, member)

    def _examine_apart(
        self, member: Prepared, tasks: Sequence[str], took: list[Took], reason: str
    ) -> Generator[Job, Reply, None]:
        """Together, tasks are faster; apart, only the culprit fails.

        Two that fail for the reason that all failed for say that it is the candidate.
        """
        num_alike = 0
        for task in tasks:
            if num_alike == ENOUGH_ALIKE or len(tasks) == 1:
                self.recorder.fail(member.candidate, reason, task)
                continue
            reply = yield from self._ask(member, [task], took, asked_again=False)
            if isinstance(reply, Evaluated):
                self._keep(self.recorder.keep, member.candidate, reply)
            elif isinstance(reply, Failed):
                num_alike += reply.reason == reason
                self.recorder.fail(member.candidate, reply.reason, task)

    def _ask(
        self, member: Prepared, tasks: Sequence[str], took: list[Took], *, asked_again: bool
    ) -> Generator[Job, Reply, Reply]:
        if why := self.lost.why(member):
            return Failed(why)
        reply = yield Evaluate(member.load, member.shape, tasks)
        took.append(reply.took)
        self._took.append(reply.took)
        self.lost.note(member, reply, asked_again=asked_again)
        return reply

    def _ended(self, member: Prepared, num_tasks: int, took: Sequence[Took]) -> None:
        """What starting its engine takes is no part of a candidate's pace; nor is a worker's first
        job, which reads the tasks."""
        name, seconds = member.candidate.name, sum(one.sec for one in took)
        starts = sum(one.start_sec for one in took)
        tells_pace = took and not any(one.is_first for one in took)
        self.progress.left.tasks.finish(name, num_tasks, seconds - starts if tells_pace else None)
        self.progress.ended(num_tasks, f"{name}: {num_tasks} tasks in {seconds:.1f} s")

    def _through(self, member: Prepared) -> None:
        """All its results are written; the last of a family renews the report."""
        left = self._unfinished[member.candidate.family]
        left.discard(member.candidate.name)
        if not left and (any(self._unfinished.values()) or self.plan.speed_waits):
            self.renew()

    def _keep(self, write: Callable[..., None], *results: Any) -> None:
        for one in self._kept:
            if one.done():
                one.result()  # a full disk ends the run now, not after the last candidate
        self._kept.append(self._keeper.submit(write, *results))


def pending_tasks(plan: Plan, member: Prepared) -> list[str]:
    cells = plan.pending(member.candidate.name)
    return [cell.task for cell in cells if cell.task is not None]
