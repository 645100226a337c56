"""All candidates' memory and size, on the page of costs."""

from melange.harness.metrics import headline, of_group
from melange.reports.pages import Block
from melange.reports.tables.costs import cost_frame, cost_table
from melange.reports.view import Report

MEMORY = (
    "weights_bytes",
    "kv_bytes_per_token",
    headline("memory"),
    "device_memory_bytes",
    *(one.name for one in of_group("size")),
)
ON_A_GPU = (
    "On a GPU the peak includes the pool of keys and values, for which the engine takes what the "
    "weights leave: weights and KV per token say what a candidate needs."
)


class Footprints:
    page = "costs"
    order = 20
    title = "Memory and size"
    template = "sections/cost_tables.html"

    def block(self, report: Report, subject: str) -> Block:
        table = cost_table(report, MEMORY)
        note = ON_A_GPU if report.run.manifest.device == "cuda" else ""
        return Block(
            data={"tables": [("What serving a candidate takes", table)], "note": note},
            tables={"memory": cost_frame(table)},
        )


SECTION = Footprints()
