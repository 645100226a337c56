"""Speed and memory: rounds over all candidates in turn, while nothing else runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from melange.harness.contracts import Executor
from melange.harness.costs import cost_records, round_line
from melange.harness.executors.jobs import Failed, Start, Time, Timed, Weigh, Weighed
from melange.harness.lost_causes import LostCauses
from melange.harness.needs import Activations, need_records, weigh
from melange.harness.prepare import Prepared, group_by_shape
from melange.harness.progress import Progress
from melange.harness.recorder import Recorder
from melange.harness.records import Measurement, Plan
from melange.harness.round_line import RoundLine
from melange.harness.runs.writer import RunFolder
from melange.harness.timing.stopping import Stopping, Wanted
from melange.harness.timing.units import Unit, round_order, units_of
from melange.harness.timing.visits import Sitting


@dataclass(slots=True)
class SpeedRounds:
    plan: Plan
    folder: RunFolder
    executor: Executor
    recorder: Recorder
    progress: Progress
    lost: LostCauses
    measured_as: dict[str, str] = field(default_factory=dict)
    """By candidate, the first of those that were timed in turn as one with it."""

    def run(self, prepared: Sequence[Prepared], *, before_first: Callable[[], None]) -> None:
        """Time the members that are due: in turn, as far as their engines can be alive at once.

        `before_first` is called once engines have started: it waits for other work to end.
        """
        reference = next(
            (one for one in prepared if one.candidate.name == self.plan.suite.reference), None
        )
        groups = group_by_shape(prepared, reference).values()
        wanted = [
            one
            for group in groups
            for one in group
            if one is reference or self.plan.speed_is_due(one.candidate.name)
        ]
        parts = self.executor.together(wanted)
        for part in parts:
            due = [one for one in part if self.plan.speed_is_due(one.candidate.name)]
            if due:
                self._start_engines(part)
                before_first()
                beside = reference if any(one is reference for one in part) else None
                self._time_in_turn(due, beside, num_parts=len(parts))

    def _start_engines(self, members: Sequence[Prepared]) -> None:
        self.progress.doing("starting engines")
        firsts = {one.shape: one for one in reversed(members) if not self.lost.why(one)}
        starts = [Start(one.load, one.shape) for one in firsts.values()]
        for one, started in zip(firsts.values(), self.executor.submit(starts), strict=True):
            if isinstance(reply := started.result(), Failed):
                self.lost.note(one, reply)

    def _time_in_turn(
        self, due: Sequence[Prepared], reference: Prepared | None, *, num_parts: int
    ) -> None:
        """Rounds over all units, the reference among them, so that drift affects all alike."""
        units = units_of(due, reference)
        sitting = Sitting(units[0] if reference is not None else None)
        self.progress.will_time([one.name for one in units])
        self._do_rounds(units, sitting, num_parts)
        timed = [one for unit in units for one in unit.members if one.candidate.name in unit.names]
        activations = weigh(timed, self.plan.suite.batches, self.plan.seed, self._weigh)
        for unit in units:
            self._record(unit, sitting, activations)
        self.progress.timed([one.name for one in units if one.members], len(due))

    def _do_rounds(self, units: Sequence[Unit], sitting: Sitting, num_parts: int) -> None:
        suite = self.plan.suite
        budget_sec = suite.speed_budget_sec and suite.speed_budget_sec / num_parts
        stopping = Stopping(suite, budget_sec, self.progress.say)
        names = [one.name for one in suite.batches]
        # The reference is timed beside the others, for as long as they need it.
        first = [one for one in units if one is not sitting.reference] or units
        wanted: Wanted = dict.fromkeys(first, names)
        number = 0
        while wanted:
            for unit in self._order(list(wanted), sitting, number):
                still = wanted.get(unit) or [n for n in names if n in set().union(*wanted.values())]
                self._visit(unit, number, still, sitting)
            number += 1
            wanted = {unit: some for unit, some in wanted.items() if unit.members and some}
            wanted = stopping.wanted(sitting, wanted, number)

    def _order(self, units: Sequence[Unit], sitting: Sitting, number: int) -> list[Unit]:
        reference = sitting.reference
        reference = reference if reference is not None and reference.members else None
        order = round_order(units, reference, f"{self.plan.seed} {number}")
        starts = reference is not None and number == 0 and order[0] is not reference
        return [reference, *order] if reference is not None and starts else order

    def _weigh(self, job: Weigh) -> Weighed | Failed:
        self.progress.doing("weighing activations", still=True)
        reply = self.executor.alone(job)
        assert isinstance(reply, Weighed | Failed)
        return reply

    def _visit(self, unit: Unit, number: int, workloads: Sequence[str], sitting: Sitting) -> None:
        """Time the unit's next member; one that fails is lost, and the next takes its turn."""
        while unit.members:
            member = unit.next_member()
            name = member.candidate.name
            self.progress.doing(f"round {number + 1}, timing {name}", still=True)
            reply = self._time(member, number, workloads)
            if isinstance(reply, Timed):
                self.progress.visited(unit.name, reply.took.sec - reply.took.start_sec)
                sitting.add(unit, name, number, reply)
                return
            is_due = name in unit.names
            unit.lose(member)
            if is_due:
                self.recorder.fail(member.candidate, reply.reason, None)

    def _time(self, member: Prepared, number: int, names: Sequence[str]) -> Timed | Failed:
        if why := self.lost.why(member):
            return Failed(why)
        asked = [one for one in self.plan.suite.batches if one.name in names]
        workloads = [one.cut_to(member.shape.max_model_len) for one in asked]
        reply = self.executor.alone(
            Time(member.load, member.shape, workloads, self.plan.seed + number)
        )
        assert isinstance(reply, Timed | Failed)
        self.lost.note(member, reply)
        return reply

    def _record(self, unit: Unit, sitting: Sitting, activations: Activations) -> None:
        if not unit.names:
            return
        if len(unit.names) > 1:
            self.measured_as |= dict.fromkeys(unit.names, unit.name)
        # The records say that the cell is done, so they come last.
        self.folder.append_rounds(_lines(unit, sitting))
        for member in unit.members:
            if member.candidate.name in unit.names:
                needed = need_records(member, self.plan.suite.batches, activations)
                self.folder.append([*needed, *self._records(member, unit, sitting)])

    def _records(self, member: Prepared, unit: Unit, sitting: Sitting) -> list[Measurement]:
        visits = sitting.of(unit)
        timed = [one.timed for one in visits]
        number = len({one.candidate for one in visits})
        return cost_records(
            member, timed, sitting.beside(unit),
            number if number > 1 else None,
        )  # fmt: skip


def _lines(unit: Unit, sitting: Sitting) -> list[RoundLine]:
    """A line for each visit and workload."""
    return [
        round_line(
            visit.timed, workload, beside, candidate=visit.candidate, measured_as=unit.name,
            sitting=sitting.started, round=visit.round, visit=visit.within,
        )
        for visit, beside in zip(sitting.of(unit), sitting.beside(unit), strict=True)
        for workload in visit.timed.rounds
    ]  # fmt: skip
