"""A run's data under the name of its device, to be kept beside the documentation.

    python -m melange.reports.archive runs/gpu-check-true-shapes docs/gpu

What is kept is again a run's folder: `run_all.py --report-only --out FOLDER` renders it.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from melange.harness.errors import HarnessError
from melange.harness.runs.layout import MANIFEST, MEASUREMENTS
from melange.reports.analysis.run import load_run
from melange.reports.pages.costs import footprints, workloads
from melange.reports.tables.costs import CostTable, cost_table
from melange.reports.tables.files import to_csv
from melange.reports.view import Report, slugs

RECORDS = (MANIFEST, MEASUREMENTS)
USER_MISTAKE = 2


def archive(run: Path, root: Path) -> Path:
    """Copy the run's records, and its tables of costs as CSV, to root/<device>/.

    Raises:
        HarnessError: the folder is no run.
    """
    report = Report(load_run(run))
    out = root / slugs([_device(report)])[_device(report)]
    out.mkdir(parents=True, exist_ok=True)
    for name in RECORDS:
        shutil.copyfile(run / name, out / name)
    for section in (workloads.SECTION, footprints.SECTION):
        for stem, table in section.block(report, "").tables.items():
            (out / f"{stem}.csv").write_text(to_csv(table), encoding="utf-8")
    (out / "README.md").write_text(_page(report), encoding="utf-8")
    return out


def _device(report: Report) -> str:
    hardware = report.run.manifest.model_dump().get("hardware", {})
    return str(hardware.get("gpu") or hardware.get("cpu") or "unknown device")


def _page(report: Report) -> str:
    manifest = report.run.manifest
    finished = f"finished {manifest.finished or 'never'}"
    versions = ", ".join(f"{name} {number}" for name, number in manifest.versions.items())
    parts = [
        f"# {report.title}: {_device(report)}",
        f"`{manifest.command}`, {finished}, revision {manifest.git_revision}.",
        f"{versions}.",
    ]
    for name in report.run.workloads:
        parts += [f"## {name}", _markdown(cost_table(report, workloads.SPEED, name))]
    parts += ["## Memory and size", _markdown(cost_table(report, footprints.MEMORY))]
    return "\n\n".join(parts) + "\n"


def _markdown(table: CostTable) -> str:
    """Means alone: the intervals are in the CSV files."""
    heads = [
        f"{label.label} ({scale.label})" if scale.label else label.label
        for label, scale in zip(table.labels, table.scales, strict=True)
    ]
    lines = [["candidate", *heads], ["---"] * (1 + len(heads))]
    for row in table.rows:
        cells = [
            scale.write(cell.value) or cell.outcome
            for cell, scale in zip(row.cells, table.scales, strict=True)
        ]
        if row.gap:
            cells = [f"{row.gap.outcome}: {row.gap.reason}", *[""] * (len(heads) - 1)]
        lines.append([row.candidate, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


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
