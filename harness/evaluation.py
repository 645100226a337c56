"""Evaluates candidates on their tasks, side by side. Nothing is timed here."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from melange.harness.contracts import Executor
from melange.harness.executors.jobs import Evaluate, Evaluated, Failed, Job, Reply, Took
from melange.harness.lost_causes import ENOUGH_ALIKE, LostCauses
from melange.harness.prepare import Prepared, by_family, in_order
from melange.harness.progress import Progress
from melange.harness.racing.batches import Share
from melange.harness.recorder import Recorder
from melange.harness.records import Candidate, Plan


@dataclass(slots=True)
class Talk:
    """The exchange with one candidate's worker."""

    member: Prepared
    steps: Generator[Job, Reply, None]
    """Yields its jobs; the next one depends on the reply to the last."""
    asked: Future[Reply] | None = None
    over: Future[None] = field(default_factory=Future)


class Ask(NamedTuple):
    """What an evaluation asks, and where the answers go."""

    tasks: Callable[[Prepared], list[str]]
    """Of a candidate."""
    keep: Callable[[Candidate, Evaluated], None]
    share: Share | None = None
    """Of the tasks' examples; None: all. With a share, more follows: no cell ends here."""


@dataclass(slots=True)
class Evaluation:
    executor: Executor
    ask: Ask
    recorder: Recorder
    progress: Progress
    lost: LostCauses
    renew: Callable[[bool], None]
    """Called when a family is finished, with whether others are not."""
    _talks: list[Talk] = field(default_factory=list)
    _unfinished: Mapping[str, set[str]] = field(default_factory=dict)
    """Candidates by family."""
    _keeper: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, 1))
    """Writes results while workers are at their next jobs."""
    _took: list[Took] = field(default_factory=list)
    _kept: list[Future[None]] = field(default_factory=list)
    _stopped: bool = False
    """From here on jobs fail because their workers were ended."""

    def run(self, members: Sequence[Prepared]) -> None:
        """Evaluate each member on its tasks. After an error, closing the executor ends what
        still runs."""
        self._unfinished = by_family(members)
        self._talks = [Talk(one, self._examine(one)) for one in in_order(members)]
        self.progress.left.num_slots = self.executor.num_slots
        self.progress.doing("evaluating", self._running)
        with self._keeper:
            try:
                self._begin()
                for over in as_completed([one.over for one in self._talks]):
                    over.result()
            except BaseException:  # Ctrl-C, or an error in one talk: end the others
                self._stopped = True
                raise
        for one in self._kept:
            one.result()

    @property
    def start_sec(self) -> float:
        """Total seconds that starting engines took."""
        return sum(one.start_sec for one in self._took)

    def _running(self) -> Iterator[str]:
        for one in self._talks:
            if one.asked is not None and one.asked.running():
                yield one.member.candidate.name

    # Talks continue in the thread that receives the reply, before its worker takes another job.

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
        except BaseException as error:  # raised in run(), which waits for it
            talk.over.set_exception(error)

    def _next(self, talk: Talk, reply: Reply | None) -> Job | None:
        """The talk's next job; None if it is over."""
        try:
            return talk.steps.send(reply)  # type: ignore[arg-type]
        except StopIteration:
            talk.over.set_result(None)
            return None

    def _cancel_lost(self) -> None:
        for one in self._talks:
            if one.asked is not None and self.lost.why(one.member):
                one.asked.cancel()

    # The jobs of a talk.

    def _examine(self, member: Prepared) -> Generator[Job, Reply, None]:
        """Evaluates a candidate on all its tasks."""
        tasks, took = self.ask.tasks(member), list[Took]()
        reply = yield from self._ask(member, tasks, took, asked_again=len(tasks) > 1)
        if isinstance(reply, Evaluated):
            self._keep(self.ask.keep, member.candidate, reply)
        elif isinstance(reply, Failed):
            yield from self._examine_apart(member, tasks, took, reply.reason)
        self._ended(member, len(tasks), took)
        self._keep(self._through, member)

    def _examine_apart(
        self, member: Prepared, tasks: Sequence[str], took: list[Took], reason: str
    ) -> Generator[Job, Reply, None]:
        """Evaluates one task at a time, after all together have failed.

        Once two tasks fail for the reason that all together failed for, the rest fail unasked.
        """
        num_alike = 0
        for task in tasks:
            if num_alike == ENOUGH_ALIKE or len(tasks) == 1:
                self.recorder.fail(member.candidate, reason, task)
                continue
            reply = yield from self._ask(member, [task], took, asked_again=False)
            if isinstance(reply, Evaluated):
                self._keep(self.ask.keep, member.candidate, reply)
            elif isinstance(reply, Failed):
                num_alike += reply.reason == reason
                self.recorder.fail(member.candidate, reply.reason, task)

    def _ask(
        self, member: Prepared, tasks: Sequence[str], took: list[Took], *, asked_again: bool
    ) -> Generator[Job, Reply, Reply]:
        if why := self.lost.why(member):
            return Failed(why)
        reply = yield Evaluate(member.load, member.shape, tasks, self.ask.share)
        took.append(reply.took)
        self._took.append(reply.took)
        self.lost.note(member, reply, asked_again=asked_again)
        return reply

    def _ended(self, member: Prepared, num_tasks: int, took: Sequence[Took]) -> None:
        """Update progress. The time left is estimated without engine starts, and without a worker's
        first job, which also reads the tasks."""
        if self.ask.share is not None:
            return
        name, seconds = member.candidate.name, sum(one.sec for one in took)
        starts = sum(one.start_sec for one in took)
        is_typical = took and not any(one.is_first for one in took)
        self.progress.left.tasks.finish(name, num_tasks, seconds - starts if is_typical else None)
        self.progress.ended(num_tasks, f"{name}: {num_tasks} tasks in {seconds:.1f} s")

    def _through(self, member: Prepared) -> None:
        """Called when all its results are written; the last of a family renews the report."""
        left = self._unfinished[member.candidate.family]
        left.discard(member.candidate.name)
        if not left and self.ask.share is None:
            self.renew(any(self._unfinished.values()))

    def _keep(self, write: Callable[..., None], *results: Any) -> None:
        for one in self._kept:
            if one.done():
                one.result()  # raises here, so that a full disk ends the run now
        self._kept.append(self._keeper.submit(write, *results))


def pending_tasks(plan: Plan, member: Prepared) -> list[str]:
    cells = plan.pending(member.candidate.name)
    return [cell.task for cell in cells if cell.task is not None]
