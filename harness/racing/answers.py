"""What candidates have answered in a race so far: joined into ordinary results at the end. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from melange.harness.executors.jobs import Evaluated
from melange.harness.samples import SampleColumns, TaskResult

EXAMPLE = "example"


@dataclass(slots=True)
class Answers:
    """One candidate's, batch after batch."""

    results: dict[str, list[TaskResult]] = field(default_factory=dict)
    """By task, a result for each batch."""
    engine_sec: float = 0.0

    def add(self, reply: Evaluated) -> None:
        for result in reply.results:
            self.results.setdefault(result.task, []).append(result)
        self.engine_sec += reply.engine_sec

    def joined(self) -> Evaluated:
        """As if all had been asked at once."""
        found = [joined(parts) for parts in self.results.values()]
        return Evaluated(found, self.engine_sec)


def joined(parts: Sequence[TaskResult]) -> TaskResult:
    """Batches of a task's examples as one result, in the order of the examples; without metrics
    that are no means, which would have to be computed anew."""
    columns = _joined([one.columns or {} for one in parts])
    numbers = [int(number) for number in columns.pop(EXAMPLE)]
    order = np.argsort(numbers, kind="stable").tolist()
    samples = SampleColumns(
        *(
            [column[k] for k in order]
            for column in map(_chained, zip(*(one.samples for one in parts), strict=True))
        )
    )
    pooled = {name for one in parts for name in one.intervals or ()}
    means = [{k: v for k, v in one.values.items() if k not in pooled} for one in parts]
    values = _in_order(_joined(means), order)
    kept = _in_order(columns, order) | {EXAMPLE: sorted(numbers)}
    num_cut = sum(one.num_cut for one in parts)
    return TaskResult(parts[0].task, values, samples, num_cut, kept)


def _joined(parts: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, list[float]]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: _chained([part.get(name, ()) for part in parts]) for name in names}


def _in_order(
    columns: Mapping[str, Sequence[float]], order: Sequence[int]
) -> dict[str, Sequence[float]]:
    """A metric that some examples lack has no known order, and stays as it is."""
    return {
        name: [column[k] for k in order] if len(column) == len(order) else column
        for name, column in columns.items()
    }


def _chained(parts):  # type: ignore[no-untyped-def]
    return [value for part in parts for value in part]
