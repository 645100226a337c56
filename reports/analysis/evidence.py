"""Tests which differences between candidates are significant.

For a page, in short (`evidence = Evidence(run, scope.tasks)`, kept for the whole report):

    evidence.mean(name)                  mean over tasks with its interval; None without a result
    evidence.ranges, evidence.unranked   best and worst rank by candidate, or why there is none
    evidence.leader_mean                 the leader's mean, whose interval knows that it was chosen
    evidence.leader, evidence.alike(x)   the highest mean; who does not differ significantly from x
    evidence.against_reference[name]     `Contrast` to the suite's reference, or a reason
    evidence.against_leader[name]        the same to the leader
    evidence.contrast(x, y)              the same for any pair, not corrected
    evidence.on_task(x, y, task)         the same on one task, in the task's own direction
    evidence.gap_closed(name)            `Reading`: 0 is the base, 1 the tuned checkpoint
    evidence.retained(name)              `Reading`: share of the tuned checkpoint's accuracy
    evidence.smallest_effect             the smallest difference a typical ranked pair could show
    evidence.notes                       sentences on what could not be paired

All means are over tasks with the same weight, in which higher is better.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from melange.harness.records import Task
from melange.harness.stats import (
    Means,
    adjusted_pairs,
    paired_difference,
    rank_ranges,
    smallest_effect,
)
from melange.reports.analysis.aggregate import Mean
from melange.reports.analysis.contrasts import (
    ALPHA,
    POWER,
    Contrast,
    corrected,
    corrected_together,
    paired_contrast,
    unpaired_contrast,
)
from melange.reports.analysis.goals import Goal, gap_reading, goal, retained_reading
from melange.reports.analysis.racing import stop_sentence, stopped_among
from melange.reports.analysis.run import Reading, Run
from melange.reports.analysis.score_tables import ReadScores, ScoreTable, ScoreTables


@dataclass(frozen=True)
class Evidence:
    run: Run
    tasks: tuple[Task, ...]
    """Tasks that count for means: fractions, held out or shifted."""
    read: ReadScores | None = None
    """Reads a cell's scores; by default from the run's folder."""

    def mean(self, candidate: str, tasks: Sequence[Task] | None = None) -> Mean | None:
        """Over the given tasks (by default all that count) that it has completed."""
        asked = self._names(tasks)
        done = [name for name in asked if candidate in self._table(name).readings]
        if not done:
            return None
        found = self._scores.over(done).interval(self._places[candidate])
        return Mean(
            value=found.mean,
            low=found.low,
            high=found.high,
            examples=sum(self._table(name).readings[candidate].n or 0 for name in done),
            tasks=len(done),
            of_tasks=len(asked),
        )

    @cached_property
    def ranked(self) -> list[str]:
        """Candidates with all tasks, best mean first."""
        if not self.tasks:
            return []
        values_K = self._scores.over(self._names()).values_K
        full = [
            name
            for name, k in self._places.items()
            if not np.isnan(values_K[k]) and name not in self.run.stopped
        ]
        return sorted(full, key=lambda name: -float(values_K[self._places[name]]))

    @cached_property
    def unranked(self) -> dict[str, str]:
        """Candidate -> why it has no rank."""
        return {name: self._lack(name) for name in self._places if name not in self.ranked}

    def _lack(self, candidate: str) -> str:
        if candidate in self.run.stopped:
            return stop_sentence(self.run.stopped[candidate])
        if self.run.is_pending(candidate):
            return "some of its tasks are still to come: the run is going on"
        gaps = [name for name in self._names() if candidate not in self._table(name).readings]
        if not self.tasks:
            return "no task counts for a mean"
        if len(gaps) == len(self.tasks):
            return "it has no result"
        named = ", ".join(gaps[:3]) + (f" and {len(gaps) - 3} more" if len(gaps) > 3 else "")
        return f"only candidates with all tasks are ranked, and it has no result on {named}"

    @property
    def leader(self) -> str | None:
        return self.ranked[0] if self.ranked else None

    @cached_property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """The best and the worst rank that the data allow; candidates of one best rank are a
        group."""
        num_absent = len(self.run.stopped)
        found = rank_ranges(self._field, ALPHA, num_absent) if self.ranked else []
        return dict(zip(self.ranked, found, strict=True))

    @cached_property
    def leader_mean(self) -> Mean | None:
        """Its interval holds although the leader was chosen by the same data; None without one."""
        plain = self.mean(self.leader) if self.leader else None
        if plain is None or len(self.ranked) < 2:
            return plain
        found = self._field.chosen(0)
        return replace(plain, low=found.low, high=found.high, chosen_among=len(self.ranked))

    def alike(self, candidate: str) -> list[str]:
        """Other ranked candidates that do not differ significantly from it, best first."""
        if candidate not in self.ranked:
            return []
        adjusted_K = self._adjusted_KK[self.ranked.index(candidate)]
        pairs = zip(self.ranked, adjusted_K, strict=True)
        return [name for name, p_value in pairs if name != candidate and p_value > ALPHA]

    def better_than(self, candidate: str) -> list[str]:
        """Ranked candidates that are significantly worse, best first."""
        if candidate not in self.ranked:
            return []
        place, alike = self.ranked.index(candidate), set(self.alike(candidate))
        return [name for name in self.ranked[place + 1 :] if name not in alike]

    @cached_property
    def against_reference(self) -> dict[str, Contrast]:
        """Each candidate minus the suite's reference; corrected over all candidates."""
        reference = self.run.reference
        if reference is None:
            return dict.fromkeys(self._places, Contrast(reason="the reference was not run"))
        return corrected_together({
            name: self.contrast(name, reference, same="it is the reference")
            for name in self._places
        })  # fmt: skip

    @cached_property
    def against_leader(self) -> dict[str, Contrast]:
        """Each candidate minus the leader; corrected over all pairs, as the data chose it."""
        if self.leader is None:
            return dict.fromkeys(self._places, Contrast(reason="no candidate has all tasks"))
        return {name: self._behind(name, self.leader) for name in self._places}

    def _behind(self, name: str, leader: str) -> Contrast:
        found = self.contrast(name, leader, same="it is the leader")
        if found.p_value is None:
            return found
        if name in self.ranked:
            adjusted = float(self._adjusted_KK[0, self.ranked.index(name)])
        else:
            adjusted = min(1.0, found.p_value * self._num_pairs)
        return corrected(found, adjusted, self._num_pairs)

    def contrast(self, candidate: str, other: str, *, same: str = "it is itself") -> Contrast:
        """candidate - other over the tasks that both have; the p-value is not corrected."""
        if candidate == other:
            return Contrast(reason=same)
        if reason := stopped_among(self.run, candidate, other):
            return Contrast(reason=reason)
        both = [n for n in self._names() if {candidate, other} <= set(self._table(n).readings)]
        if not both:
            return Contrast(reason=f"it has no task in common with {other}")
        found = self._scores.over(both).difference(self._places[candidate], self._places[other])
        note = self._note(both, (candidate, other))
        return paired_contrast(found, tasks=len(both), of_tasks=len(self.tasks), note=note)

    def _note(self, tasks: Sequence[str], pair: tuple[str, str]) -> str:
        parts = []
        if len(tasks) < len(self.tasks):
            parts.append(f"over {len(tasks)} of {len(self.tasks)} tasks")
        lacks = [
            f"{name} on {task}, {self._table(task).unpaired[name]}"
            for task in tasks
            for name in pair
            if name in self._table(task).unpaired
        ]
        if lacks:
            more = f" and {len(lacks) - 1} more" if len(lacks) > 1 else ""
            parts.append(f"not paired: {lacks[0]}{more}")
        return "; ".join(parts)

    def on_task(self, candidate: str, other: str, task: str) -> Contrast:
        """candidate - other on any task of the run, by the exact test where it can be paired.

        In the task's own direction: below 0 is better where lower is better.
        """
        if candidate == other:
            return Contrast(reason="it is itself")
        if reason := stopped_among(self.run, candidate, other):
            return Contrast(reason=reason)
        mine, theirs = (self.run.quality(name, task) for name in (candidate, other))
        for name, one in ((candidate, mine), (other, theirs)):
            if one.value is None:
                return Contrast(reason=f"{name}: {one.reason}")
        record = self.run.tasks[task]
        table = self._table(task) if record is not None else None
        if record is None or table is None or not {candidate, other} <= set(table.paired):
            return unpaired_contrast(mine, theirs)
        sides = [table.paired[candidate], table.paired[other]]
        left_N, right_N = sides if record.higher_is_better else reversed(sides)
        return paired_contrast(paired_difference(left_N, right_N, table.clusters_N))

    @cached_property
    def smallest_effect(self) -> float | None:
        """The difference that four of five runs would detect for the median pair of ranked ones."""
        if len(self.ranked) < 2:
            return None
        variances_P = self._field.variance_KK[np.triu_indices(len(self.ranked), k=1)]
        error = float(np.sqrt(np.median(variances_P)))
        return smallest_effect(1, error, ALPHA / self._num_pairs, POWER)

    def gap_closed(self, candidate: str, tasks: Sequence[Task] | None = None) -> Reading:
        """(candidate - base) / (tuned - base): 1 is as good as tuning the large model itself."""
        ends = goal(self.run, candidate)
        common = self._common(candidate, ends, tasks)
        if isinstance(common, Reading):
            return common
        return gap_reading(common, self._places, candidate, ends)

    def retained(self, candidate: str, tasks: Sequence[Task] | None = None) -> Reading:
        """candidate / tuned: 1 is as accurate as the large model tuned itself."""
        ends = goal(self.run, candidate)
        common = self._common(candidate, ends, tasks)
        if isinstance(common, Reading):
            return common
        return retained_reading(common, self._places, candidate, ends)

    def _common(self, candidate: str, ends: Goal, tasks: Sequence[Task] | None) -> Means | Reading:
        """Means over the tasks that a candidate and both ends of its goal have, or why not."""
        if ends.reason:
            return Reading(reason=ends.reason)
        needed = {candidate, ends.base, ends.tuned}
        if reason := stopped_among(self.run, *sorted(needed)):
            return Reading(reason=reason)
        done = [name for name in self._names(tasks) if needed <= set(self._table(name).readings)]
        if not done:
            if any(map(self.run.is_pending, sorted(needed))):
                return self.run.not_reached
            return Reading(reason=f"it has no task in common with {ends.base} and {ends.tuned}")
        return self._scores.over(done)

    @cached_property
    def notes(self) -> list[str]:
        """What could not be paired, one sentence per reason."""
        lacks: dict[str, dict[str, None]] = {}
        for task in self._names():
            for name, reason in self._table(task).unpaired.items():
                if name in self.run.stopped:
                    continue
                lacks.setdefault(reason, {})[name] = None
        return [
            f"{', '.join(names)}: on some tasks {reason}, so the candidate is compared there as "
            "if it had seen examples of its own."
            for reason, names in lacks.items()
        ]

    @property
    def _num_pairs(self) -> int:
        """Those of candidates that a race stopped are corrected for, too: the data chose them."""
        num = len(self.ranked) + len(self.run.stopped)
        return max(1, num * (num - 1) // 2)

    @cached_property
    def _field(self) -> Means:
        """Means of all ranked candidates over all tasks, best first."""
        return self._scores.over(self._names()).select([self._places[name] for name in self.ranked])

    @cached_property
    def _adjusted_KK(self) -> np.ndarray:
        return adjusted_pairs(self._field, len(self.run.stopped))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: k for k, name in enumerate(self.run.families)}

    def _names(self, tasks: Sequence[Task] | None = None) -> list[str]:
        return [task.name for task in (self.tasks if tasks is None else tasks)]

    def _table(self, name: str) -> ScoreTable:
        return self._scores.table(name)

    @cached_property
    def _scores(self) -> ScoreTables:
        return ScoreTables(self.run, self.read or self.run.scores)
