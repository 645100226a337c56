"""What candidates cost: their speed on each workload, their memory, size and making."""

from melange.harness.metrics import FORMER, headline, of_group
from melange.reports.page import Block, Page, Section
from melange.reports.tables.cost_columns import load_words, workload_words
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
    headline("memory"),
    "weights_bytes",
    "kv_bytes_per_token",
    "kv_load_bytes",
    "peak_activation_bytes",
    FORMER["memory"],
    "device_memory_bytes",
    *(one.name for one in of_group("size")),
    *(one.name for one in of_group("build")),
)
NOTHING = "No speed was measured in this run."
NEEDED = (
    "Memory needed is the weights of all models that take part, the keys and values of the load, "
    "and activations; {load}. Of a composite, whose parts answer in turn, keys and values and "
    "activations are the largest part’s. The peak of a process is told where it served that "
    "candidate alone: it holds libraries, the engine’s whole pool, and what other weights left."
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
    note = NEEDED.format(load=load_words(view.run)) if view.run.load else ""
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
