"""Speed and memory: rounds over all candidates in turn, with nothing at work beside them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from melange.harness.costs import cost_records, round_lines, speed_error
from melange.harness.executors.jobs import Failed, Time, Timed
from melange.harness.executors.local import EnginePool
from melange.harness.lost_causes import LostCauses
from melange.harness.measure.speed import fit
from melange.harness.prepare import Prepared
from melange.harness.progress import Progress
from melange.harness.recorder import Recorder
from melange.harness.records import Candidate, EngineShape, Plan
from melange.harness.store import RunFolder

ROUNDS_TO_SETTLE = 8
"""After as many rounds, and as many more, it is asked whether they suffice."""


@dataclass(slots=True)
class SpeedRounds:
    plan: Plan
    folder: RunFolder
    pool: EnginePool
    recorder: Recorder
    progress: Progress
    lost: LostCauses

    def run(
        self,
        groups: Mapping[EngineShape, Sequence[Prepared]],
        reference: Prepared | None,
        *,
        before_first: Callable[[], None],
    ) -> None:
        """Time the members that are due: all of them in turn, where their engines fit in memory,
        else one shape after the other.

        `before_first` is called once engines have started: what works beside them ends there.
        """
        due = [
            [one for one in members if self._speed_due(one.candidate)]
            for members in groups.values()
        ]
        due = [members for members in due if members]
        if self.pool.fits_all():
            self._start_engines([members[0] for members in due])
            before_first()
            self._time_in_turn([one for members in due for one in members], reference)
            return
        before_first()
        for members in due:
            with_it = reference and reference.shape == members[0].shape
            self._time_in_turn(members, reference if with_it else None)

    def _start_engines(self, firsts: Sequence[Prepared]) -> None:
        self.progress.doing("starting engines")
        wanted = [one for one in firsts if not self.lost.why(one)]
        for one, failed in zip(wanted, self.pool.start_together(wanted), strict=True):
            if failed is not None:
                self.lost.note(one, failed)

    def _time_in_turn(self, due: Sequence[Prepared], reference: Prepared | None) -> None:
        """Rounds over all members, the reference in each, so that no one runs in one drift."""
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
            if self._settled(rounds, number + 1):
                break
        workloads = self.plan.suite.workloads
        reference_rounds = rounds.get(self.plan.suite.reference, []) if reference else []
        for member in due:
            if timed := rounds.get(member.candidate.name):
                # The records say that the cell is done, so they come last.
                self.folder.append_rounds(round_lines(member, timed, reference_rounds))
                self.folder.append(cost_records(member, workloads, timed, reference_rounds))
        self.progress.timed(members, len(due))

    def _settled(self, rounds: Mapping[str, Sequence[Timed]], num_rounds: int) -> bool:
        settle = self.plan.suite.settle
        if not (settle and rounds) or num_rounds % ROUNDS_TO_SETTLE:
            return False
        error = speed_error(rounds)
        self.progress.say(f"{num_rounds} rounds: a candidate's speed is known to {error:.1%}")
        return error <= settle

    def _speed_due(self, candidate: Candidate) -> bool:
        return any(cell.task is None for cell in self.plan.pending(candidate.name))

    def _time(self, member: Prepared, number: int) -> Timed | Failed:
        if why := self.lost.why(member):
            return Failed(why)
        workloads = [fit(one, member.shape.max_model_len) for one in self.plan.suite.workloads]
        job = Time(member.load, workloads, self.plan.seed + number)
        engine = self.pool.home_engine(member.shape)
        began, started_sec = time.perf_counter(), engine.start_sec
        reply = engine.ask(job)
        assert isinstance(reply, Timed | Failed)
        self.lost.note(member, reply)
        seconds = time.perf_counter() - began - (engine.start_sec - started_sec)
        self.progress.visited(member.candidate.name, seconds)
        return reply
