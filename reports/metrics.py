"""What the known metrics are called on a page. An unknown metric is shown under its own name."""

from dataclasses import dataclass

from melange.harness.metrics import METRICS


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    label: str
    meaning: str = ""


WHOLES = {
    "throughput": Metric(label="Throughput", meaning="speed as a whole"),
    "memory": Metric(label="Memory", meaning="memory as a whole"),
}
"""What a failure of all of them is recorded as."""
FORMER = {
    "activation_bytes": Metric(
        label="Activations", meaning="highest resident memory beside weights and KV pool"
    ),
}
"""What earlier versions measured, and this one does not."""
KNOWN = (
    WHOLES | FORMER | {one.name: Metric(label=one.label, meaning=one.meaning) for one in METRICS}
)

PERCENTILES = ("p50", "p90", "p99")


def describe(metric: str) -> Metric:
    """A known metric, a percentile of one, or the name itself with its underscores opened."""
    if metric in KNOWN:
        return KNOWN[metric]
    stem, _, last = metric.rpartition("_")
    if last in PERCENTILES and stem in KNOWN:
        of = KNOWN[stem]
        return Metric(label=f"{of.label} {last}", meaning=of.meaning.replace("median", last))
    return Metric(label=metric.replace("_", " "))
