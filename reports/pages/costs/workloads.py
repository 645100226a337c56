"""All candidates' speed, workload by workload, on the page of costs."""

import pandas as pd

from melange.reports.pages import Block
from melange.reports.tables.cost_columns import workload_words
from melange.reports.tables.costs import cost_frame, cost_table
from melange.reports.view import Report

SPEED = (
    "total_tokens_per_sec",
    "prefill_tokens_per_sec",
    "decode_tokens_per_sec",
    "ttft_sec",
    "tpot_sec",
    "latency_sec",
)
ENERGY = "joules_per_token"
"""Shown where the device tells it."""


class Workloads:
    page = "costs"
    order = 10
    title = "Speed by workload"
    template = "sections/cost_tables.html"

    def block(self, report: Report, subject: str) -> Block:
        metrics = (*SPEED, ENERGY) if ENERGY in report.run.timed else SPEED
        tables = {name: cost_table(report, metrics, name) for name in report.run.workloads}
        frames = [cost_frame(table, workload=name) for name, table in tables.items()]
        words = {name: workload_words(report.run, name) for name in tables}
        shown = [(f"{name}: {words[name]}", table) for name, table in tables.items()]
        return Block(
            data={"tables": shown, "note": "" if shown else "No speed was measured in this run."},
            tables={"speed": pd.concat(frames)} if frames else {},
        )


SECTION = Workloads()
