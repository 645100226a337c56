"""Open loops: requests at stated rates, candidate after candidate, while nothing else runs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from melange.harness.arrivals import OpenLoopLine
from melange.harness.contracts import Executor
from melange.harness.executors.jobs import Drive, Driven, Failed
from melange.harness.lost_causes import LostCauses
from melange.harness.measure.open_loop import (
    FALLS_BEHIND,
    METRICS,
    QUEUE_GROWTH,
    OpenLoop,
    readings,
)
from melange.harness.measure.summaries import OPEN_LOOP, Told, summarize
from melange.harness.prepare import Prepared, group_by_shape
from melange.harness.progress import Progress
from melange.harness.recorder import Recorder
from melange.harness.records import Measurement, Outcome, Plan, Workload
from melange.harness.runs.current import SPEED_FAILURE
from melange.harness.runs.writer import RunFolder

IN_TURN = "its parts are served in turn, a batch each: requests that arrive would wait for a batch"


@dataclass(slots=True)
class OpenLoops:
    plan: Plan
    folder: RunFolder
    executor: Executor
    recorder: Recorder
    progress: Progress
    lost: LostCauses

    def run(self, prepared: Sequence[Prepared], *, before_first: Callable[[], None]) -> None:
        """Drive the members whose speed is due.

        `before_first` is called before the first request: it waits for other work to end.
        """
        if not self.plan.suite.open_loops:
            return
        # Of those that are given up, the rounds record why.
        due = [
            one
            for one in prepared
            if self.plan.speed_is_due(one.candidate.name) and not self.lost.why(one)
        ]
        for part in self.executor.together(due):
            before_first()
            for group in group_by_shape(part, None).values():
                self._drive_in_turn(group)

    def _drive_in_turn(self, members: Sequence[Prepared]) -> None:
        """Repetitions over all members, so that drift affects all of them alike."""
        found: dict[str, list[Driven]] = {one.candidate.name: [] for one in members}
        failed: dict[str, str] = {}
        for number in range(max(one.repetitions for one in self.plan.suite.open_loops)):
            for one in members:
                name = one.candidate.name
                if one.load.panel is None and name not in failed:
                    reply = self._drive(one, number)
                    if isinstance(reply, Failed):
                        failed[name] = reply.reason
                    else:
                        found[name].append(reply)
        for one in members:
            self._keep(one, found[one.candidate.name], failed.get(one.candidate.name, ""))

    def _drive(self, member: Prepared, number: int) -> Driven | Failed:
        if why := self.lost.why(member):
            return Failed(why)
        name = member.candidate.name
        self.progress.doing(f"repetition {number + 1}, requests arrive at {name}", still=True)
        workloads = [one for one in self._workloads(member) if number < one.repetitions]
        reply = self.executor.alone(
            Drive(member.load, member.shape, workloads, self.plan.seed + number)
        )
        assert isinstance(reply, Driven | Failed)
        self.lost.note(member, reply)
        return reply

    def _keep(self, member: Prepared, driven: Sequence[Driven], failure: str) -> None:
        told = Told(member.candidate.name, member.candidate.family)
        for workload in self._workloads(member):
            mine = told._replace(workload=workload.name)
            if member.load.panel is not None:
                records = [without_value(mine, Outcome.SKIPPED, IN_TURN)]
            elif failure:
                records = [without_value(mine, Outcome.FAILED, failure)]
            else:
                loops = [one.loops[workload.name] for one in driven[: workload.repetitions]]
                self.folder.append_open_loops(loop_lines(mine, loops))
                records = loop_records(mine, workload, loops)
            self.folder.append(records, ends_cells=False)
        if failure:
            self.progress.say(f"{member.candidate.name}: open loops failed: {failure}")
            self.recorder.num_failed += 1

    def _workloads(self, member: Prepared) -> list[Workload]:
        return [one.cut_to(member.shape.max_model_len) for one in self.plan.suite.open_loops]


def loop_records(told: Told, workload: Workload, loops: Sequence[OpenLoop]) -> list[Measurement]:
    """With a note on each where the engine does not keep up, or it is not known to."""
    found = summarize(told, METRICS, [readings(workload, one.requests) for one in loops], OPEN_LOOP)
    # Completed lines come first: after a skipped one, they would supersede it.
    found.sort(key=lambda one: one.outcome is not Outcome.COMPLETED)
    note = _note(workload, next(one for one in found if one.metric == QUEUE_GROWTH.name))
    return [one.model_copy(update={"reason": one.reason or note}) for one in found]


def _note(workload: Workload, growth: Measurement) -> str:
    if growth.value is None:
        return f"whether the engine keeps up is not known: {growth.reason}"
    if growth.value <= FALLS_BEHIND:
        return ""
    return (
        f"the engine does not keep up with {workload.request_rate:g} requests/s: the queue grows "
        f"by {growth.value:.2f} for each request, so latency depends on how long requests arrive"
    )


def without_value(told: Told, outcome: Outcome, reason: str) -> Measurement:
    return Measurement(**told._asdict(), metric=SPEED_FAILURE, outcome=outcome, reason=reason)


def loop_lines(told: Told, loops: Sequence[OpenLoop]) -> Iterator[OpenLoopLine]:
    """What is kept of each request: a line for each repetition, to a microsecond."""
    for number, one in enumerate(loops):
        requests = one.requests
        yield OpenLoopLine(
            candidate=told.candidate,
            workload=told.workload or "",
            repetition=number,
            started=one.started,
            due_sec=tuple(round(it.due_sec, 6) for it in requests),
            sent_sec=tuple(round(it.sent_sec, 6) for it in requests),
            piece_sec=tuple(tuple(round(sec, 6) for sec in it.piece_sec) for it in requests),
            num_tokens=tuple(it.num_tokens for it in requests),
        )
