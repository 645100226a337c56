"""A number with its interval, or why there is none."""

import math
from dataclasses import dataclass

from melange.harness.metrics import BY_NAME
from melange.harness.records import Measurement, Outcome
from melange.reports.units import plural

NOT_MEASURED = "not measured in this run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A number with its 95 % interval, or why there is none; `reason` next to a number is a note
    for its reader."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    outcome: str = "absent"
    """An `Outcome`; or "absent": not recorded; "pending": not recorded yet, the run goes on;
    "unneeded": there was nothing to record; "unknown": its interval is too wide to show it."""
    reason: str = NOT_MEASURED

    @property
    def has_interval(self) -> bool:
        return self.value is not None and self.low is not None and self.high is not None

    @property
    def known(self) -> float:
        """The value; the caller has made sure that there is one."""
        assert self.value is not None, self.reason
        return self.value

    @property
    def bounds(self) -> tuple[float, float]:
        """The interval; the value twice if none was recorded."""
        low = self.known if self.low is None else self.low
        high = self.known if self.high is None else self.high
        return low, high


def reading(measurement: Measurement) -> Reading:
    if measurement.value is None:
        return Reading(
            outcome=str(measurement.outcome), reason=measurement.reason or "no reason was recorded"
        )
    return Reading(
        value=measurement.value,
        low=measurement.ci_low,
        high=measurement.ci_high,
        n=measurement.n,
        outcome=str(Outcome.COMPLETED),
        reason=measurement.reason,
    )


def shown(found: Reading, metric: str) -> Reading:
    """The reading; without its value if that is not known well enough (`Metric.known_within`)."""
    declared = BY_NAME.get(metric)
    within = declared.known_within if declared else None
    if within is None or found.value is None or (found.n is None and not found.has_interval):
        return found
    low, high = found.bounds
    rounds = plural(found.n, "round") if found.n else "its rounds"
    if not found.has_interval:
        why = f"not known yet: {rounds} cannot tell how far off it is"
    elif low <= 0 or math.sqrt(high / low) > within:
        spread = f"within a factor of {math.sqrt(high / low):.2f}" if low > 0 else "not at all"
        why = f"not known yet: known {spread} from {rounds}"
    else:
        return found
    return Reading(n=found.n, outcome="unknown", reason=f"{why}; more rounds would help")
