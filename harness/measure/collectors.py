"""All collectors, and a round that they watch."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module

from melange.harness.contracts import TimedSession
from melange.harness.measure.metric import Collector, Scope, Watched
from melange.harness.measure.speed import Reading, Round, fresh_requests, time_workload
from melange.harness.records import Workload

NAMES = ("calibration", "memory", "throughput", "latency", "energy")
"""Modules with a `COLLECTOR`, from the outermost around the work to the innermost."""
COLLECTORS: tuple[Collector, ...] = tuple(
    import_module(f"melange.harness.measure.{name}").COLLECTOR for name in NAMES
)


def of_scope(scope: Scope) -> Iterator[Collector]:
    return (one for one in COLLECTORS if one.metrics[0].scope == scope)


@contextmanager
def watching(scope: Scope, watched: Watched) -> Iterator[None]:
    with ExitStack() as stack:
        for collector in of_scope(scope):
            stack.enter_context(collector.watch(watched))
        yield


def watched_round(
    session: TimedSession, device: str, workloads: Sequence[Workload], *, seed: int
) -> tuple[dict[str, Round], dict[str, Reading]]:
    """Each workload's round with its readings, and the readings of all together."""
    rounds, whole = {}, Watched(session, device)
    with watching("serving", whole):
        for workload in workloads:
            generations = fresh_requests(session, workload, seed=seed)
            one = Watched(session, device)
            with watching("workload", one):
                one.rounds.append(time_workload(session, generations))
            rounds[workload.name] = one.rounds[0]._replace(readings=one.readings)
            whole.rounds.append(rounds[workload.name])
    return rounds, whole.readings
