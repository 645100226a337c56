"""Speed and memory: rounds over all candidates in turn, while nothing else runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from melange.harness.contracts import Executor
from melange.harness.costs import cost_records, round_lines, speed_error
from melange.harness.executors.jobs import Failed, Start, Time, Timed, Weigh, Weighed
from melange.harness.lost_causes import LostCauses
from melange.harness.needs import need_records, weigh
from melange.harness.prepare import Prepared, group_by_shape
from melange.harness.progress import Progress
from melange.harness.recorder import Recorder
from melange.harness.records import Plan
from melange.harness.runs.writer import RunFolder

ROUNDS_PER_ERROR_CHECK = 8
"""The relative error of speeds is computed after every so many rounds."""


@dataclass(slots=True)
class SpeedRounds:
    plan: Plan
    folder: RunFolder
    executor: Executor
    recorder: Recorder
    progress: Progress
    lost: LostCauses

    def run(self, prepared: Sequence[Prepared], *, before_first: Callable[[], None]) -> None:
        """Time the members that are due: in turn, as far as their engines can be alive at once.

        `before_first` is called once engines have started: it waits for other work to end.
        """
        reference = next(
            (one for one in prepared if one.candidate.name == self.plan.suite.reference), None
        )
        groups = group_by_shape(prepared, reference).values()
        wanted = [one for group in groups for one in group if one is reference or self._is_due(one)]
        for part in self.executor.together(wanted):
            due = [one for one in part if self._is_due(one)]
            if due:
                self._start_engines(part)
                before_first()
                self._time_in_turn(due, reference if reference in part else None)

    def _start_engines(self, members: Sequence[Prepared]) -> None:
        self.progress.doing("starting engines")
        firsts = {one.shape: one for one in reversed(members) if not self.lost.why(one)}
        starts = [Start(one.load, one.shape) for one in firsts.values()]
        for one, started in zip(firsts.values(), self.executor.submit(starts), strict=True):
            if isinstance(reply := started.result(), Failed):
                self.lost.note(one, reply)

    def _time_in_turn(self, due: Sequence[Prepared], reference: Prepared | None) -> None:
        """Rounds over all members and the reference, so that drift affects all of them alike."""
        members = {one.candidate.name: one for one in due}
        if reference is not None:
            members = {reference.candidate.name: reference} | members
        rounds: dict[str, list[Timed]] = {name: [] for name in members}
        for number in range(self.plan.suite.rounds):
            for name in list(rounds):
                self.progress.doing(f"round {number + 1}, timing {name}", still=True)
                reply = self._time(members[name], number)
                if isinstance(reply, Timed):
                    rounds[name].append(reply)
                else:
                    del rounds[name]
                    if members[name] in due:
                        self.recorder.fail(members[name].candidate, reply.reason, None)
            if self._suffice(rounds, number + 1):
                break
        timed_members = [one for one in due if rounds.get(one.candidate.name)]
        workloads = self.plan.suite.workloads
        activations = weigh(timed_members, workloads, self.plan.seed, self._weigh)
        reference_rounds = rounds.get(self.plan.suite.reference, []) if reference else []
        for member in due:
            if timed := rounds.get(member.candidate.name):
                # The records say that the cell is done, so they come last.
                self.folder.append_rounds(round_lines(member, timed, reference_rounds))
                needed = need_records(member, workloads, activations)
                costs = cost_records(member, workloads, timed, reference_rounds)
                self.folder.append([*needed, *costs])
        self.progress.timed(members, len(due))

    def _suffice(self, rounds: Mapping[str, Sequence[Timed]], num_rounds: int) -> bool:
        target = self.plan.suite.target_relative_error
        if not (target and rounds) or num_rounds % ROUNDS_PER_ERROR_CHECK:
            return False
        error = speed_error(rounds)
        self.progress.say(f"{num_rounds} rounds: a candidate's speed is known to {error:.1%}")
        return error <= target

    def _is_due(self, member: Prepared) -> bool:
        return any(cell.task is None for cell in self.plan.pending(member.candidate.name))

    def _weigh(self, job: Weigh) -> Weighed | Failed:
        self.progress.doing("weighing activations", still=True)
        reply = self.executor.alone(job)
        assert isinstance(reply, Weighed | Failed)
        return reply

    def _time(self, member: Prepared, number: int) -> Timed | Failed:
        if why := self.lost.why(member):
            return Failed(why)
        workloads = [one.cut_to(member.shape.max_model_len) for one in self.plan.suite.workloads]
        reply = self.executor.alone(
            Time(member.load, member.shape, workloads, self.plan.seed + number)
        )
        assert isinstance(reply, Timed | Failed)
        self.lost.note(member, reply)
        seconds = reply.took.sec - reply.took.start_sec
        self.progress.visited(member.candidate.name, seconds)
        return reply
