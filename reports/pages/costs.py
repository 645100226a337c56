"""What candidates cost: their speed on each workload, their memory and size."""

from melange.harness.metrics import headline, of_group
from melange.reports.page import Block, Page, Section
from melange.reports.tables.cost_columns import workload_words
from melange.reports.tables.costs import cost_table
from melange.reports.view import RunView

SPEED = (
    "total_tokens_per_sec",
    "prefill_tokens_per_sec",
    "decode_tokens_per_sec",
    "ttft_sec",
    "tpot_sec",
    "latency_sec",
)
ENERGY = "joules_per_token"
"""Shown if the device reports energy."""
MEMORY = (
    "weights_bytes",
    "kv_bytes_per_token",
    headline("memory"),
    "device_memory_bytes",
    *(one.name for one in of_group("size")),
)
NOTHING = "No speed was measured in this run."
ON_A_GPU = (
    "On a GPU the peak includes the pool of keys and values, for which the engine takes what the "
    "weights leave: weights and KV per token say what a candidate needs."
)


TIMED_AS_ONE = (
    "Candidates that run the same kernels on the same shapes are timed as one, in turn: the values "
    "of their weights do not change their speed."
)


def timed_as_one(view: RunView) -> str:
    """Which candidates share their rounds; empty if none do."""
    groups: dict[str, list[str]] = {}
    for name in view.run.families:
        groups.setdefault(view.run.unit_of(name), []).append(name)
    shared = [", ".join(names) for names in groups.values() if len(names) > 1]
    return f"{TIMED_AS_ONE} Here: {'; '.join(shared)}." if shared else ""


def speed(view: RunView, subject: str) -> Block:
    run = view.run
    metrics = (*SPEED, ENERGY) if ENERGY in run.timed else SPEED
    words = {name: workload_words(run, name) for name in run.batches}
    shown = [(f"{name}: {words[name]}", cost_table(run, metrics, [name])) for name in words]
    return Block(
        data={"shown": shown, "note": timed_as_one(view) if shown else NOTHING},
        tables={"speed": cost_table(run, metrics, list(words))} if words else {},
    )


def memory(view: RunView, subject: str) -> Block:
    table = cost_table(view.run, MEMORY)
    note = ON_A_GPU if view.run.manifest.device == "cuda" else ""
    return Block(
        data={"shown": [("What serving a candidate takes", table)], "note": note},
        tables={"memory": table},
    )


PAGE = Page(
    name="costs",
    title="Costs",
    order=20,
    sections=(
        Section("Speed by workload", "sections/table.html", speed),
        Section("Memory and size", "sections/table.html", memory),
    ),
)
