"""A run's folder: append-only records, samples as parquet, a manifest replaced in one step."""

import contextlib
import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from melange.harness.errors import HarnessError
from melange.harness.identity import Cell, withdrawn
from melange.harness.records import SCHEMA_VERSION, Measurement, Outcome, Record, RoundLine
from melange.harness.samples import SampleColumns
from melange.harness.verdicts import FILE as CHECKS
from melange.harness.verdicts import Check, read_checks


class RunFolder:
    """Reads and writes one run.

    A record once written is never changed: a later one for the same cell and metric replaces it
    when read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def report(self) -> Path:
        return self.path / "report" / "index.html"

    def report_is_current(self) -> bool:
        """The report was rendered after the last record was written."""
        if not (self.report.exists() and self._measurements.exists()):
            return False
        return self.report.stat().st_mtime >= self._measurements.stat().st_mtime

    def prepare(self) -> None:
        """Create the folder and check that it can be written.

        Raises:
            HarnessError: it cannot, or another process measures into it; nothing was touched.
        """
        with _writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path) as probe:
                probe.write(b"\0" * 65_536)
        with self.claimed():
            pass

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the lock by which a reader knows that the run is going on; mend what was cut.

        The system lets go when this process dies, however it dies.

        Raises:
            HarnessError: another process holds it.
        """
        with _writing(self.path):
            if not self._measurements.exists():  # its time says whether the report is current
                self._measurements.touch()
        with self._measurements.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise HarnessError(
                    f"{self.path}: another process is measuring into it; wait for it, or pass "
                    "another --out"
                ) from None
            except OSError:  # a file system without locks: readers will take the run for stopped
                pass
            for name in ("measurements.jsonl", "rounds.jsonl", CHECKS):
                self._mend(name)
            yield

    def manifest(self) -> dict[str, Any] | None:
        try:
            text = (self.path / "manifest.json").read_text()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise HarnessError(
                f"{self.path}: manifest.json cannot be read: {error.strerror}; pass another --out"
            ) from None
        try:
            manifest: dict[str, Any] = json.loads(text)
        except json.JSONDecodeError:
            raise HarnessError(
                f"{self.path / 'manifest.json'} is not valid JSON; restore it, or pass --out"
            ) from None
        _check_schema(manifest.get("schema_version", 0), self.path / "manifest.json")
        return manifest

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        self._replace("manifest.json", json.dumps(manifest, indent=1).encode())

    def append(self, measurements: Iterable[Measurement]) -> None:
        """Add the records to measurements.jsonl and force them to disk."""
        self._append("measurements.jsonl", measurements)

    def append_rounds(self, rounds: Iterable[RoundLine]) -> None:
        """Add the lines to rounds.jsonl and force them to disk.

        A candidate that is timed again begins with round 0, which replaces its earlier rounds of
        that workload when read.
        """
        self._append("rounds.jsonl", rounds)

    def append_checks(self, checks: Iterable[Check]) -> None:
        """Add the lines to checks.jsonl and force them to disk."""
        self._append(CHECKS, checks)

    def checks(self) -> list[Check]:
        """The lines that hold: see harness.verdicts.read_checks."""
        return read_checks(self.path)

    def measurements(self) -> list[Measurement]:
        """All records in the order they were written, superseded ones included.

        A line that was cut short when the machine stopped is passed over: its cell runs again.
        """
        if not self._measurements.exists():
            return []
        lines = self._measurements.read_text().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n") and line.strip()]
        return [_parse(line, at, self._measurements) for at, line in enumerate(whole, start=1)]

    def completed(self) -> set[tuple[str, str | None]]:
        """Cells whose latest record is completed."""
        latest: dict[tuple[str, str | None], bool] = {}
        for one in self.measurements():
            cell = (one.candidate, one.task)
            latest[cell] = one.outcome is Outcome.COMPLETED
        return {cell for cell, completed in latest.items() if completed}

    def withdraw(self, cells: Mapping[Cell, str], workloads: Collection[str]) -> None:
        """Take back what is stored of these cells, with the reason: it is of something else.

        `workloads` are those that the suite has now.
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
        """`columns` are beside the samples' own."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        examples = range(len(samples.score))
        table = pa.table({"example": examples} | samples._asdict() | dict(columns or {}))
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        self._replace(f"samples/{candidate}/{task}.parquet", sink.getvalue().to_pybytes())

    @property
    def _measurements(self) -> Path:
        return self.path / "measurements.jsonl"

    def _append(self, name: str, records: Iterable[Record]) -> None:
        lines = "".join(one.model_dump_json() + "\n" for one in records)
        with _writing(self.path), open(self.path / name, "a") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def _mend(self, name: str) -> None:
        """Drop a last line that was cut short, so that the next record starts on its own line.

        In place: a file that is replaced leaves its lock behind.
        """
        path = self.path / name
        if not path.exists() or not path.stat().st_size:
            return
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            with _writing(self.path):
                os.truncate(path, content.rfind(b"\n") + 1)

    def _replace(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all."""
        target = self.path / name
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


def _parse(line: str, number: int, path: Path) -> Measurement:
    try:
        fields = json.loads(line)
        _check_schema(fields.get("schema_version", 0), path)
        return Measurement(**fields)
    except (json.JSONDecodeError, ValidationError, AttributeError, TypeError):
        raise HarnessError(
            f"{path}, line {number} is not a measurement; restore the file, or pass --out"
        ) from None


def _check_schema(version: int, path: Path) -> None:
    if version > SCHEMA_VERSION:
        raise HarnessError(
            f"{path.name} has schema {version}; this version reads up to {SCHEMA_VERSION}. "
            "Upgrade, or pass --out."
        )


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn the operating system's refusals into one line each."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "the disk is full" if full else (error.strerror or str(error)).lower()
        raise HarnessError(
            f"{folder} cannot be written: {what}; free it, or pass another --out"
        ) from None
