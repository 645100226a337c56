"""Which candidates and engine shapes are given up after repeated failures."""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from threading import Lock

from melange.harness.executors.jobs import Failed, Reply
from melange.harness.prepare import Prepared
from melange.harness.records import EngineShape

ENOUGH_ALIKE = 2


@dataclass(slots=True)
class LostCauses:
    """Failures of engines, and what follows from them. Thread-safe.

    A candidate is given up if its engine does not start or rejects its weights; if the process dies
    meanwhile, or a step fails, after the second failure of the same cause. A shape is given up if
    two candidates failed for the same cause and its engine has served none. So neither one
    candidate's weights nor one task that breaks every candidate costs the others.
    """

    _served: set[EngineShape] = field(default_factory=set)
    _met: dict[tuple[EngineShape, str], list[str]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """Shape and cause -> candidates."""
    _times: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(Candidate, cause) -> how often."""
    _shapes: dict[EngineShape, str] = field(default_factory=dict)
    _candidates: dict[str, str] = field(default_factory=dict)
    """Candidates given up -> why."""
    _lock: Lock = field(default_factory=Lock)

    def why(self, member: Prepared) -> str:
        """Why the candidate is given up; empty if it is not."""
        with self._lock:
            return self._candidates.get(member.candidate.name) or self._shapes.get(member.shape, "")

    def note(self, member: Prepared, reply: Reply, *, asked_again: bool = False) -> None:
        """`asked_again`: tasks that failed together are tried again one by one, and a failure
        counts only then."""
        with self._lock:
            if not isinstance(reply, Failed):
                self._served.add(member.shape)
            elif reply.stage in ("work", "tasks"):
                if reply.engine != "well" and not asked_again and self._is_enough(member, reply):
                    self._met_by(member, reply)
            elif reply.engine == "dead":
                self._is_enough(member, reply)
                self._met_by(member, reply)
            else:
                self._candidates[member.candidate.name] = reply.reason  # it would fail again
                if reply.stage == "start":
                    self._met_by(member, reply)

    def _is_enough(self, member: Prepared, failed: Failed) -> bool:
        """Count the failure; give the candidate up if that is the second of its cause."""
        key = (member.candidate.name, cause(failed))
        self._times[key] += 1
        if self._times[key] < ENOUGH_ALIKE:
            return False
        self._candidates[member.candidate.name] = f"given up after the same twice: {failed.reason}"
        return True

    def _met_by(self, member: Prepared, failed: Failed) -> None:
        names = self._met[member.shape, cause(failed)]
        if member.candidate.name not in names:
            names.append(member.candidate.name)
        if len(names) >= ENOUGH_ALIKE and member.shape not in self._served:
            self._shapes[member.shape] = (
                f"not tried, since its engine serves none of {', '.join(names)}: {failed.reason}"
            )


def cause(failed: Failed) -> str:
    """Equal for failures of the same kind: sizes in GiB, which vary, are masked."""
    return f"{failed.stage}: {re.sub(r'[0-9]+[.][0-9]+', '#', failed.reason)}"
