"""Copies a run's data to a folder named after its device, to be stored with the documentation.

    python -m melange.reports.archive runs/gpu-check-true-shapes docs/gpu

The copy is a run's folder too: `run_all.py --report-only --out FOLDER` renders it.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from melange.harness.errors import HarnessError
from melange.harness.runs.layout import MANIFEST, MEASUREMENTS
from melange.reports.analysis.run import load_run
from melange.reports.page import Table, slugs
from melange.reports.pages import costs
from melange.reports.tables.costs import cost_table
from melange.reports.tables.files import ShownRow, markdown_table, shown_rows, to_csv
from melange.reports.units import Scale
from melange.reports.view import RunView

RECORDS = (MANIFEST, MEASUREMENTS)
USER_MISTAKE = 2


def archive(run: Path, root: Path) -> Path:
    """Copy the run's records, and its tables of costs as CSV, to root/<device>/.

    Raises:
        HarnessError: the folder is no run.
    """
    view = RunView(load_run(run))
    out = root / slugs([_device(view)])[_device(view)]
    out.mkdir(parents=True, exist_ok=True)
    for name in RECORDS:
        shutil.copyfile(run / name, out / name)
    for section in costs.PAGE.sections:
        if block := section.block(view, ""):
            for stem, table in block.tables.items():
                (out / f"{stem}.csv").write_text(to_csv(table), encoding="utf-8")
    (out / "README.md").write_text(_page(view), encoding="utf-8")
    return out


def _device(view: RunView) -> str:
    hardware = view.run.manifest.model_dump().get("hardware", {})
    return str(hardware.get("gpu") or hardware.get("cpu") or "unknown device")


def _page(view: RunView) -> str:
    manifest = view.run.manifest
    finished = f"finished {manifest.finished or 'never'}"
    versions = ", ".join(f"{name} {number}" for name, number in manifest.versions.items())
    parts = [
        f"# {view.title}: {_device(view)}",
        f"`{manifest.command}`, {finished}, revision {manifest.git_revision}.",
        f"{versions}.",
    ]
    for name in view.run.batches:
        parts += [f"## {name}", _markdown(cost_table(view.run, costs.SPEED, [name]))]
    parts += ["## Memory and size", _markdown(cost_table(view.run, costs.MEMORY))]
    return "\n\n".join(parts) + "\n"


def _markdown(table: Table) -> str:
    """Only means: the CSV files have the intervals."""
    heads = ["candidate", *(_head(one.label, one.scale) for one in table.columns if one.scale)]
    return markdown_table(heads, map(_means, shown_rows(table))).rstrip()


def _head(label: str, scale: Scale) -> str:
    return f"{label} ({scale.label})" if scale.label else label


def _means(row: ShownRow) -> list[str]:
    name, *_ = (cell for _, cell in row.cells)
    cells = [(cell, column.scale) for column, cell in row.cells if column.scale]
    if row.gap:
        return [name, f"{row.gap.outcome}: {row.gap.reason}", *[""] * (len(cells) - 1)]
    return [name, *(scale.write(cell.value) or cell.outcome for cell, scale in cells)]


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 2:
        print("archive: name the run's folder and where to keep its data", file=sys.stderr)
        return USER_MISTAKE
    try:
        print(f"kept: {archive(*map(Path, arguments))}")
    except HarnessError as error:
        print(f"archive: {error}", file=sys.stderr)
        return USER_MISTAKE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
