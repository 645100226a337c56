"""Throughput and latency by number of concurrent requests.

Workloads that differ only in that number form one curve.
"""

from melange.harness.records import Workload
from melange.reports.analysis.run import Run
from melange.reports.page import Block, Section
from melange.reports.pages.latency.ladder import Axis, figures
from melange.reports.view import RunView

METRICS = ("total_tokens_per_sec", "latency_sec")
AXIS = Axis(lambda load: load.num_requests, "load", "num_requests", "Requests at once")
WORDS = (
    "Each line is a candidate, each panel a family. The axis of requests at once is logarithmic; "
    "bars are 95 % intervals."
)


def block(view: RunView, subject: str) -> Block | None:
    return figures(view, load_ladders(view.run), METRICS, AXIS, WORDS)


def load_ladders(run: Run) -> list[list[Workload]]:
    """Groups of two or more batches that differ only in `num_requests`, sorted by it."""
    found: dict[tuple[int, int, bool], dict[int, Workload]] = {}
    for load in run.workloads.values():
        if load is not None and load.request_rate is None:
            alike = (load.prompt_tokens, load.output_tokens, load.mixed)
            found.setdefault(alike, {}).setdefault(load.num_requests, load)
    return [[steps[n] for n in sorted(steps)] for steps in found.values() if len(steps) > 1]


SECTION = Section("Speed under load", "sections/figures.html", block)
