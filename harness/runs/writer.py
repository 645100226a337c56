"""Writes a run's folder: append-only records, parquet samples, an atomically replaced manifest."""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from melange.harness.arrivals import OpenLoopLine
from melange.harness.errors import HarnessError
from melange.harness.records import SCHEMA_VERSION, Measurement, Record
from melange.harness.round_line import RoundLine
from melange.harness.runs.current import CellKey, completed, current
from melange.harness.runs.identity import withdrawn
from melange.harness.runs.layout import (
    CHECKS,
    MANIFEST,
    MEASUREMENTS,
    OPEN_LOOPS,
    REPORT,
    ROUNDS,
    samples_path,
)
from melange.harness.runs.lock import locked
from melange.harness.runs.manifest import Manifest, read_manifest
from melange.harness.runs.reader import read_checks, read_measurements
from melange.harness.runs.samples import encode_samples
from melange.harness.samples import SampleColumns
from melange.harness.verdicts import Check


class RunFolder:
    """Writes one run, and reads what it already holds.

    Records are never changed; `current` says which one holds.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def report(self) -> Path:
        return self.path / REPORT / "index.html"

    def report_is_current(self) -> bool:
        """Whether the report was rendered after the last record was written."""
        if not (self.report.exists() and self._measurements.exists()):
            return False
        return self.report.stat().st_mtime >= self._measurements.stat().st_mtime

    def prepare(self) -> None:
        """Create the folder and check that it can be written.

        Raises:
            HarnessError: it cannot, or another process measures into it; nothing has changed.
        """
        with _writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path) as probe:
                probe.write(b"\0" * 65_536)
        with self.claimed():
            pass

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the lock that tells readers that the run is going on; repair cut lines.

        Raises:
            HarnessError: another process holds it.
        """
        with _writing(self.path):
            if (
                not self._measurements.exists()
            ):  # touching a file that exists would make the report look stale
                self._measurements.touch()
        with locked(self._measurements):
            for name in (MEASUREMENTS, ROUNDS, OPEN_LOOPS, CHECKS):
                self._mend(name)
            yield

    def manifest(self) -> Manifest | None:
        """None if nothing has been measured yet.

        Raises:
            HarnessError: it cannot be read, is malformed, or of a newer schema.
        """
        path = self.path / MANIFEST
        return read_manifest(path) if os.path.lexists(path) else None

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        self._replace(self.path / MANIFEST, json.dumps(manifest, indent=1).encode())

    def append(self, measurements: Iterable[Measurement], *, ends_cells: bool = True) -> None:
        """Add the records to measurements.jsonl and force them to disk.

        They are all records of their cells, or `ends_cells` is False. The last of each cell is
        marked: a cell without it, as when the disk filled up, is measured again.
        """
        lines = list(measurements)
        cells = ((one.candidate, one.task) for one in lines if ends_cells)
        last = {cell: at for at, cell in enumerate(cells)}
        self._append(
            MEASUREMENTS,
            (
                one.model_copy(update={"ends_cell": at == last.get((one.candidate, one.task))})
                for at, one in enumerate(lines)
            ),
        )

    def append_rounds(self, rounds: Iterable[RoundLine]) -> None:
        """Add the lines to rounds.jsonl and force them to disk."""
        self._append(ROUNDS, rounds)

    def append_open_loops(self, lines: Iterable[OpenLoopLine]) -> None:
        """Add the lines to open_loops.jsonl and force them to disk."""
        self._append(OPEN_LOOPS, lines)

    def append_checks(self, checks: Iterable[Check]) -> None:
        """Add the lines to checks.jsonl and force them to disk."""
        self._append(CHECKS, checks)

    def checks(self) -> list[Check]:
        """The lines that hold."""
        return read_checks(self.path)

    def measurements(self) -> list[Measurement]:
        """All records in the order they were written, superseded ones included."""
        return read_measurements(self._measurements)[0]

    def completed(self, race: int | None = None) -> set[CellKey]:
        return completed(current(self.measurements()), race)

    def withdraw(self, cells: Mapping[CellKey, str], workloads: Collection[str]) -> None:
        """Withdraw what is stored of these cells, with the reason: they have changed.

        `workloads`: names of those that the suite has now.
        """
        if cells:
            self.append(withdrawn(self.measurements(), cells, workloads))

    def write_samples(
        self,
        candidate: str,
        task: str,
        samples: SampleColumns,
        columns: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        """`columns`: written in addition to the samples' own."""
        encoded = encode_samples(samples, columns or {})
        self._replace(samples_path(self.path, candidate, task), encoded)

    @property
    def _measurements(self) -> Path:
        return self.path / MEASUREMENTS

    def _append(self, name: str, records: Iterable[Record]) -> None:
        """All records get this version's schema, also those that were read from an earlier one."""
        version = {"schema_version": SCHEMA_VERSION}
        lines = "".join(
            one.model_copy(update=version).model_dump_json() + "\n" for one in records
        )  # fmt: skip
        with _writing(self.path), open(self.path / name, "a", encoding="utf-8") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def _mend(self, name: str) -> None:
        """Make the file end with a complete line; a last line that was cut is removed.

        In place, since replacing the file would lose its lock.
        """
        path = self.path / name
        content = path.read_bytes() if path.exists() else b""
        if not content or content.endswith(b"\n"):
            return
        start = content.rfind(b"\n") + 1
        with _writing(self.path):
            if _is_json(content[start:]):
                with path.open("ab") as file:
                    file.write(b"\n")
            else:
                os.truncate(path, start)

    def _replace(self, target: Path, content: bytes) -> None:
        """Write a file atomically."""
        with _writing(self.path):
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=target.parent)
            try:
                with open(handle, "wb") as file:
                    file.write(content)
                os.replace(temporary, target)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn errors of the operating system into one line each."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "the disk is full" if full else (error.strerror or str(error)).lower()
        raise HarnessError(
            f"{folder} cannot be written: {what}; free it, or pass another --out"
        ) from None
