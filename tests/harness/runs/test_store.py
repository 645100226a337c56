"""A run's folder survives full disks and killed processes."""

import errno
import json
from pathlib import Path

import pytest

from melange.harness.errors import HarnessError
from melange.harness.records import SCHEMA_VERSION, Measurement, Outcome
from melange.harness.runs.writer import RunFolder
from melange.harness.samples import SampleColumns, SampleRow


def record(candidate: str = "soup", task: str | None = "quiz", **fields: object) -> Measurement:
    values = {"metric": "acc", "value": 0.5, "family": "merging"} | fields
    return Measurement(candidate=candidate, task=task, **values)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.prepare()
    return run


def test_records_come_back_as_written(folder: RunFolder) -> None:
    written = [record(), record(task=None, metric="weights_bytes", value=1.0)]
    folder.append(written)
    assert folder.measurements() == written


def test_a_cell_is_completed_when_its_latest_record_is(folder: RunFolder) -> None:
    folder.append([record(outcome=Outcome.FAILED, value=None, reason="out of memory")])
    assert folder.completed() == set()
    folder.append([record()])
    assert folder.completed() == {("soup", "quiz")}


def test_a_record_cut_short_is_dropped_and_the_next_starts_its_own_line(folder: RunFolder) -> None:
    folder.append([record("a"), record("b")])
    path = folder.path / "measurements.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert folder.completed() == {("a", "quiz")}
    folder.prepare()
    folder.append([record("c")])
    assert [one.candidate for one in folder.measurements()] == ["a", "c"]


def test_a_newer_schema_is_refused(folder: RunFolder) -> None:
    fields = json.loads(record().model_dump_json()) | {"schema_version": SCHEMA_VERSION + 1}
    (folder.path / "measurements.jsonl").write_text(json.dumps(fields) + "\n")
    with pytest.raises(HarnessError, match="has schema 3; this version reads up to 2"):
        folder.measurements()


def test_a_line_that_is_no_record_is_named(folder: RunFolder) -> None:
    (folder.path / "measurements.jsonl").write_text(record().model_dump_json() + "\n[]\n")
    with pytest.raises(HarnessError, match="line 2 holds a list, not an object"):
        folder.measurements()


def test_a_path_that_cannot_be_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        HarnessError, match=r"cannot be written: .*; free it, or pass another --out"
    ):
        RunFolder(tmp_path / "file").prepare()


def test_a_full_disk_is_one_line_and_leaves_what_was_there(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.append([record("a")])

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    monkeypatch.setattr("os.fsync", full)
    samples = SampleColumns.of([SampleRow("p", "t", "r", 1.0, answer="r")])
    for write in (
        lambda: folder.append([record("b")]),
        lambda: folder.write_manifest({}),
        lambda: folder.write_samples("b", "quiz", samples),
    ):
        with pytest.raises(HarnessError, match="the disk is full; free it, or pass another --out"):
            write()
    assert folder.measurements()[0].candidate == "a"
    assert [path.name for path in folder.path.iterdir()] == ["measurements.jsonl", "samples"]


def test_samples_are_parquet_with_the_fields_of_a_sample(folder: RunFolder) -> None:
    import pyarrow.parquet as pq

    samples = SampleColumns.of([SampleRow("p", "t", "r", 1.0, (-1.0,), "fact")])
    folder.write_samples("soup", "quiz", samples)
    rows = pq.read_table(folder.path / "samples" / "soup" / "quiz.parquet").to_pylist()
    (sample,) = samples.rows()
    assert rows == [sample.model_dump() | {"logprobs": [-1.0]}]
