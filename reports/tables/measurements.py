"""A table of all measurements, as recorded."""

from collections.abc import Sequence
from operator import attrgetter

from melange.harness.records import Measurement
from melange.reports.page import Column, Table


def measurement_table(measurements: Sequence[Measurement]) -> Table:
    names = [name for name in Measurement.model_fields if name != "ends_cell"]
    return Table([Column(name, attrgetter(name)) for name in names], measurements)
