"""Writes docs/architectures.md from the lines of cells.jsonl."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from parity.architectures import (
    ARCHITECTURES,
    CONTEXT_TOKENS,
    DENSE,
    RECURRENT,
    SPARSE,
    WINDOW_TOKENS,
)
from parity.suite import KINDS

GROUPS = {"Dense": DENSE, "Mixtures of experts": SPARSE, "Recurrent and hybrid": RECURRENT}
WORDS = {
    "ok": "right",
    "differs": "different without a word",
    "refused": "refused in the plan, with a reason",
    "failed": "failed during the run, with a reason",
    "hung": "without a result within the limit",
    "unchecked": "run, but not by transformers",
}
"""Outcome -> its name in the counts."""
EXACT_NATS = 1e-6
"""Smaller differences are float32's rounding."""
Lines = Mapping[str, Mapping[str, Any]]


def render(lines: Lines) -> str:
    notes = Notes()
    tables = "\n".join(table(name, group, lines, notes) for name, group in GROUPS.items())
    parts = [introduction(lines), tables, "## What does not run, and why\n", notes.text()]
    return "\n".join(parts).rstrip() + "\n"


class Notes:
    """Footnotes; cells with the same reason share a number."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)

    def number(self, outcome: str, reason: str, architecture: str, kind: str) -> int:
        self._cells[outcome, reason].append((architecture, kind))
        return list(self._cells).index((outcome, reason)) + 1

    def text(self) -> str:
        if not self._cells:
            return "Everything runs.\n"
        return "\n".join(
            f"{number}. {where(cells)} {outcome}: `{reason.replace('`', chr(39))}`"
            for number, ((outcome, reason), cells) in enumerate(self._cells.items(), start=1)
        )


def where(cells: Sequence[tuple[str, str]]) -> str:
    """`Phi (proxy), OPT (linear merge, SWA)`."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for architecture, kind in cells:
        kinds[ARCHITECTURES[architecture].title].append(kind)
    return ", ".join(f"{title} ({', '.join(found)})" for title, found in kinds.items())


def introduction(lines: Lines) -> str:
    counts = Counter(cell["outcome"] for cell in cells(lines))
    exact = max((one["nats"] for one in cells(lines) if one["outcome"] == "ok"), default=0.0)
    said = "; ".join(f"{counts[name]} {WORDS[name]}" for name in WORDS if counts[name])
    return f"""# Which architectures run, and how exactly

`make parity` writes this page. It makes tiny checkpoints of {len(lines)} architectures with \
transformers' own config classes (two layers, heads of 32, a context of {CONTEXT_TOKENS:,} tokens, \
windows of {WINDOW_TOKENS}, random float32 weights), runs all their candidates with `run_all.py` \
on a CPU, and holds every answer against plain transformers, which knows nothing of vLLM or of \
this project.

- **single**: a base and two fine-tunes, one after the other in one engine.
- **linear merge**, **task arithmetic**: made by mergekit, against the formula on the tensors.
- **SWA**: the mean of three checkpoints of a run, against the formula on the tensors.
- **proxy**: base + fine-tune − small base, against the sum of three models' logits.
- **mixture**: a Mixtral of three experts with a router made from prompts, against the dense \
models' own blocks under that router; asked of dense architectures.

A number is the largest difference, in nats, of a choice's log-probability: ten questions with \
choices, of which two are longer than a window. Three greedy answers of up to 32 tokens must be \
equal too, one of them to a prompt longer than a window, up to a near-tie. A difference above \
0.001, or an answer that is another one, stands in **bold**: the run ended well and said nothing.

{len(list(cells(lines)))} cells: {said}. The largest difference of a right one is {exact:.0e} \
nats. A raised number leads to the reason below.

Measured with {versions(lines)}.
"""


def cells(lines: Lines) -> Iterator[Mapping[str, Any]]:
    return (cell for line in lines.values() for cell in line["cells"].values())


def versions(lines: Lines) -> str:
    """Versions of packages; several if architectures were tried at different times."""
    found: dict[str, set[str]] = defaultdict(set)
    for line in lines.values():
        for package, number in line["versions"].items():
            found[package].add(number)
    return ", ".join(f"{name} {' and '.join(sorted(seen))}" for name, seen in found.items())


def table(title: str, group: Mapping[str, Any], lines: Lines, notes: Notes) -> str:
    rows = [f"## {title}\n", f"| architecture | {' | '.join(KINDS)} |", "| --- " * 7 + "|"]
    for name, architecture in group.items():
        found = lines[name]["cells"]
        texts = [
            cell_text(found[kind], notes, name, kind) if kind in found else "–" for kind in KINDS
        ]
        rows.append(f"| {architecture.title} | {' | '.join(texts)} |")
    return "\n".join(rows) + "\n"


def cell_text(cell: Mapping[str, Any], notes: Notes, architecture: str, kind: str) -> str:
    if "nats" in cell:
        return measured(cell)
    number = notes.number(cell["outcome"], cell["reason"], architecture, kind)
    return f"{cell['outcome']} <sup>{number}</sup>"


def measured(cell: Mapping[str, Any]) -> str:
    nats = cell["nats"]
    text = "< 1e-6" if nats < EXACT_NATS else f"{nats:.0e}" if nats < 0.01 else f"{nats:.2g}"
    if cell["num_equal"] < cell["num_answers"]:
        text += f", {cell['num_equal']} of {cell['num_answers']} answers"
    if cell["outcome"] == "differs":
        text = f"**{text}**"
    return text + (f" ({cell['way']})" if cell.get("way") else "")


def outcome_line(line: Mapping[str, Any]) -> str:
    """An architecture's result for the terminal: one line, and one for each reason."""
    found = line["cells"]
    texts = [
        f"{kind} {measured(one) if 'nats' in one else one['outcome']}"
        for kind, one in found.items()
    ]
    reasons = {one["reason"]: None for one in found.values() if "reason" in one}
    first = f"{line['architecture']} ({line['seconds']:.0f} s): {'; '.join(texts)}"
    return "\n".join([first, *(f"    {reason[:300]}" for reason in reasons)])
