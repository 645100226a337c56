"""Every metric of speed, memory and cost, gathered from where it is measured; no torch, no engine.

A task's metrics are lm-eval's.
"""

from collections.abc import Iterator
from typing import get_args

from melange.harness.measure.collectors import COLLECTORS
from melange.harness.measure.metric import Group, Metric
from melange.harness.measure.needs import NEEDS
from melange.harness.measure.open_loop import METRICS as OPEN_LOOP
from melange.harness.measure.sizes import SIZES

GROUPS: tuple[Group, ...] = get_args(Group)
METRICS: tuple[Metric, ...] = tuple(
    sorted(
        dict.fromkeys(
            (
                *NEEDS,
                *(one for collector in COLLECTORS for one in collector.metrics),
                *OPEN_LOOP,
                *SIZES,
            )
        ),
        key=lambda one: GROUPS.index(one.group),
    )
)
BY_NAME = {one.name: one for one in METRICS}
FORMER = {"memory": "peak_memory_bytes", "build": "build_sec"}
"""The metric that boards of earlier versions showed for a group: their runs have no other."""


def metric_of(name: str) -> Metric:
    """Of a record's name, which may have the suffix of a percentile."""
    return BY_NAME.get(name) or BY_NAME[name.rpartition("_")[0]]


def of_group(group: Group) -> Iterator[Metric]:
    return (one for one in METRICS if one.group == group)


def headline(group: Group) -> str:
    """The name of the group's metric that boards show."""
    return next(one.name for one in of_group(group) if one.headline)
