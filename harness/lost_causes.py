"""How engines failed, and whom it is no use to ask again."""

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
    """What candidates met in their engines, from several threads.

    A candidate is given up once its engine does not start or does not take its weights; where the
    process dies of that, or breaks in a step, once this has happened twice in the same way. A shape
    is given up once two candidates met the same in its engine and it has served none: one
    candidate's weights do not condemn the others, nor does one task that no candidate survives.
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
    """Given up -> why."""
    _lock: Lock = field(default_factory=Lock)

    def why(self, member: Prepared) -> str:
        """Why the candidate is not asked again; empty where it may be."""
        with self._lock:
            return self._candidates.get(member.candidate.name) or self._shapes.get(member.shape, "")

    def note(self, member: Prepared, reply: Reply, *, asked_again: bool = False) -> None:
        """`asked_again`: what fails in common work is asked once more, piece by piece, and counts
        when it fails there."""
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
                self._candidates[member.candidate.name] = reply.reason  # as it would fail again
                if reply.stage == "start":
                    self._met_by(member, reply)

    def _is_enough(self, member: Prepared, failed: Failed) -> bool:
        """The candidate is given up for it."""
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
    """Equal for two that failed in the same way: sizes in GiB move from one time to the next."""
    return f"{failed.stage}: {re.sub(r'[0-9]+[.][0-9]+', '#', failed.reason)}"
