"""A page of samples has the files' data, aligned and packed, and a reason for what is missing."""

import base64
import json
import math
import re
import struct
import tempfile
import zlib
from html import unescape
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_run import Shape, write_run, write_samples

from melange.harness.runs.manifest import Manifest
from melange.reports.analysis.run import Run, load_run
from melange.reports.analysis.samples.excerpts import goodness, telling_rows
from melange.reports.analysis.samples.table import BETWEEN_TEXTS, read_task
from melange.reports.pages import discover
from melange.reports.pages.candidate.samples import clipped, clipped_prompt
from melange.reports.pages.samples.browser import default_columns
from melange.reports.pages.samples.packed import NOTHING, packed
from melange.reports.render import fill, page_html, render
from melange.reports.view import RunView

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ROW = st.fixed_dictionaries(
    {
        "prompt": TEXT,
        "target": TEXT,
        "response": TEXT,
        "logprobs": st.none() | st.lists(st.floats(-99, 0, width=32), min_size=1, max_size=4),
        "score": st.sampled_from([0.0, 0.25, 1.0]),
    }
)
CELLS = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.dictionaries(st.integers(-5, 40), ROW, min_size=1, max_size=12),
    min_size=1,
)


def write_cell(folder: Path, candidate: str, rows: dict[int, dict]) -> None:
    lines = [{"example": number, **row} for number, row in rows.items()]
    write_samples(folder, candidate, "t", lines)


def bare_run(folder: Path) -> Run:
    return Run(folder=folder, manifest=Manifest(schema_version=1), measurements=())


def unpacked(pieces: list[str], step: int, num_examples: int) -> list[list[bytes | None]]:
    """Decodes columns of byte strings like assets/packed.js."""
    columns: list[list[bytes | None]] = []
    for index, piece in enumerate(pieces):
        content, at, column = zlib.decompress(base64.b64decode(piece)), 0, 0
        num_rows = min(step, num_examples - index * step)
        while at < len(content):
            lengths = struct.unpack_from(f"<{num_rows}I", content, at)
            at += 4 * num_rows
            if index == 0:
                columns.append([])
            for length in lengths:
                stop = at + (0 if length == NOTHING else length)
                columns[column].append(None if length == NOTHING else content[at:stop])
                at = stop
            column += 1
    return columns


def read_back(facts: dict, pieces: dict) -> dict[str, dict[int, dict]]:
    """Candidate -> example -> row, from the page's data."""
    count = len(facts["examples"])
    asked = unpacked(pieces["questions"], facts["questionStep"], count)
    cells = unpacked(pieces["answers"], facts["answerStep"], count)
    scores = np.frombuffer(zlib.decompress(base64.b64decode(pieces["scores"][0])), "<f8")
    found: dict[str, dict[int, dict]] = {}
    for at, candidate in enumerate(facts["candidates"]):
        own = {kind: cells[place] for kind, place in candidate["columns"].items()}
        rows = found.setdefault(candidate["slug"], {})
        for row, example in enumerate(facts["examples"]):
            if own["response"][row] is None:
                continue
            texts = {"prompt": asked[0], "target": asked[1]}
            rows[example] = {
                kind: (own[kind][row] if own.get(kind, [None] * count)[row] is not None
                       else texts[kind][row]).decode()
                for kind in ("prompt", "target")
            }  # fmt: skip
            numbers = own.get("logprobs", [None] * count)[row]
            rows[example] |= {
                "response": own["response"][row].decode(),
                "logprobs": list(struct.unpack(f"<{len(numbers) // 4}f", numbers))
                if numbers is not None
                else None,
                "score": scores[at * count + row],
            }
    return found


@settings(max_examples=60)
@given(cells=CELLS, block_bytes=st.sampled_from([1, 200, 2**18]))
def test_the_page_holds_what_was_written(cells, block_bytes):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("melange.reports.pages.samples.packed.BLOCK_BYTES", block_bytes)
        for candidate, rows in cells.items():
            write_cell(Path(folder), candidate, rows)
        table = read_task(bare_run(Path(folder)), "t", cells)
        assert read_back(*packed(table, {name: name for name in cells})) == cells


@given(cells=CELLS)
@settings(max_examples=30)
def test_a_sample_reads_the_same_in_the_table(cells):
    with tempfile.TemporaryDirectory() as folder:
        for candidate, rows in cells.items():
            write_cell(Path(folder), candidate, rows)
        table = read_task(bare_run(Path(folder)), "t", cells)
    places = {number: row for row, number in enumerate(table.examples_N.tolist())}
    for candidate, rows in cells.items():
        for number, row in rows.items():
            sample = table.sample(candidate, places[number])
            kept = sample.model_dump(include=set(row))
            assert kept | {"logprobs": list(sample.logprobs or []) or None} == row


def test_a_number_that_comes_twice_counts_once(tmp_path):
    row = {"prompt": "p", "target": "t", "logprobs": None, "score": 1.0}
    lines = [row | {"example": 1, "response": r} for r in ("first", "second")]
    write_samples(tmp_path, "a", "t", lines)
    table = read_task(bare_run(tmp_path), "t", ["a"])
    assert table.examples_N.tolist() == [1]
    assert table.sample("a", 0).response == "first"


def test_the_page_holds_each_filter_s_answer_and_the_text_before_it(tmp_path):
    row = {"prompt": "p", "target": "t", "logprobs": None, "score": 1.0}
    lines = [
        row | {"example": 0, "response": "9", "answer": "so 9", "texts": ["so 9", "8"],
               "filtered": {"strict": "9", "loose": "so"}},
        row | {"example": 1, "response": "7", "answer": "7", "texts": None,
               "filtered": {"strict": "7", "loose": "7"}},
    ]  # fmt: skip
    write_samples(tmp_path, "a", "t", lines)
    table = read_task(bare_run(tmp_path), "t", ["a"])
    assert [table.sample("a", at).answer for at in (0, 1)] == ["so 9", ""]
    facts, pieces = packed(table, {"a": "a"})
    cells = unpacked(pieces["answers"], facts["answerStep"], 2)
    found = {kind: cells[place] for kind, place in facts["candidates"][0]["columns"].items()}
    assert found == {
        "response": [b"9", b"7"],
        "whole": [b"so 9", None],
        "filtered:strict": [b"9", b"7"],
        "filtered:loose": [b"so", b"7"],
        "texts": [f"so 9{BETWEEN_TEXTS}8".encode(), None],
    }


def test_bytes_that_are_no_text_stop_nothing(tmp_path):
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(struct.pack("<2i", 0, 3)),
                                         pa.py_buffer(b"\xed\xa0\x80"))  # fmt: skip
    table = pa.table({"example": [0], "prompt": broken, "target": broken, "response": broken,
                      "score": [0.0]})  # fmt: skip
    (tmp_path / "samples" / "a").mkdir(parents=True)
    pq.write_table(table, tmp_path / "samples" / "a" / "t.parquet")
    read = read_task(bare_run(tmp_path), "t", ["a"])
    assert read.sample("a", 0).response == "\ufffd" * 3
    _, pieces = packed(read, {"a": "a"})
    assert unpacked(pieces["answers"], 1, 1) == [[b"\xed\xa0\x80"]]


def pages_of(folder: Path) -> dict[str, str]:
    """Path -> page, for all pages that show samples."""
    report = RunView(load_run(folder))
    shown = [page for page in discover() if page.name in ("samples", "candidate", "task")]
    found = [filled for page in shown for filled in fill(report, page)]
    return {one.file.path: page_html(report, one, []) for one in found}


@pytest.fixture
def small(tmp_path) -> Path:
    return write_run(tmp_path / "run", Shape(candidates=4, tasks=2, examples=5))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.write_bytes(b"no parquet"), "cannot be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "cannot be read"),
        (lambda path: pq.write_table(pq.read_table(path).drop("score"), path), '"score"'),
        (lambda path: pq.write_table(pq.read_table(path)[:0], path), "holds no example"),
        (lambda path: path.unlink(), "no samples were kept for this cell"),
    ],
    ids=["no parquet", "cut short", "a column is missing", "no row", "no file"],
)
def test_a_cell_without_samples_is_a_gap_with_its_reason(small, spoil, reason):
    name = list(load_run(small).families)[1]
    spoil(small / "samples" / name / "knowledge.parquet")
    pages = pages_of(small)
    for page in (f"candidates/{name}.html", "tasks/knowledge.html", "samples/knowledge.html"):
        assert reason in unescape(pages[page]), page
    facts = facts_of(pages["samples/knowledge.html"])
    assert name not in [candidate["slug"] for candidate in facts["candidates"]]
    assert "base" in [candidate["slug"] for candidate in facts["candidates"]]


def test_a_refused_cell_gives_the_plans_reason(tmp_path):
    folder = write_run(tmp_path / "run", Shape(candidates=7, tasks=2, examples=3))
    reason = "the session cannot score log-likelihoods, which this task needs"
    assert reason in pages_of(folder)["samples/knowledge.html"]


def facts_of(page: str) -> dict:
    found = re.search(r'data-part="facts">(.*?)</script>', page)
    assert found
    return json.loads(found[1])


def test_a_task_whose_samples_are_all_unreadable_still_has_its_reasons(small):
    for path in small.glob("samples/*/knowledge.parquet"):
        path.write_bytes(b"no parquet")
    text = pages_of(small)["samples/knowledge.html"]
    assert "No samples of this task can be read" in text
    assert text.count("knowledge.parquet cannot be read") == 3


def test_a_task_without_samples_has_no_page_and_no_link_to_one(small):
    for path in small.glob("samples/*/knowledge.parquet"):
        path.unlink()
    out = render(small).parent
    assert not (out / "samples" / "knowledge.html").exists()
    assert (out / "samples" / "knowledge-shifted.html").exists()
    assert all("samples/knowledge.html" not in p.read_text() for p in out.rglob("*.html"))


def test_a_page_of_samples_that_is_gone_is_removed(small):
    stale = render(small).parent / "samples" / "gone.html"
    stale.write_text("old")
    render(small)
    assert not stale.exists()


def test_the_reference_and_the_leader_are_columns_first(small):
    report = RunView(load_run(small))
    kept = [name for name in report.ranking if name in report.samples.table("knowledge").answers]
    shown = default_columns(report, kept)
    assert kept[0] in shown[:2]
    assert sorted(shown) == sorted(kept)[: len(shown)] or len(shown) == 4
    assert len({report.run.families[name] for name in shown}) == min(3, len(shown))


@given(
    st.integers(1, 6).flatmap(
        lambda count: st.lists(
            st.lists(st.sampled_from([0.0, 1.0, math.nan]), min_size=count, max_size=count),
            min_size=1, max_size=8,
        )
    )
)  # fmt: skip
def test_no_example_left_out_divides_the_candidates_more(rows_NC):
    good_CN = np.array(rows_NC).T
    told = telling_rows(good_CN)
    known_N = (~np.isnan(good_CN)).sum(axis=0)
    enough_N = (known_N > 0) & (2 * known_N >= known_N.max())
    eligible = np.flatnonzero(enough_N).tolist()
    spread = {row: np.nanvar(good_CN[:, row]) for row in eligible}
    left_out = [spread[row] for row in eligible if row not in told]
    assert set(told) <= set(eligible)
    assert not left_out or max(left_out) <= min(spread[row] for row in told)


def test_goodness_turns_with_the_metric(small):
    task = load_run(small).tasks["knowledge"]
    assert task is not None
    wrong_way = task.model_copy(update={"higher_is_better": False})
    assert goodness(0.25, task) == 0.25
    assert goodness(0.25, wrong_way) == 0.75
    assert goodness(0.25, None) == 0.25


@given(st.text(max_size=3000), st.integers(0, 900), st.integers(0, 900))
def test_what_is_left_out_of_a_text_is_counted(text, head, tail):
    clip = clipped(text, head, tail)
    left_out = clip["left_out"]
    assert text.startswith(clip["head"])
    assert text.endswith(clip["tail"])
    assert len(clip["head"]) + left_out + len(clip["tail"]) == len(text)
    assert left_out == 0 or left_out > 200


def test_a_prompt_keeps_its_question_not_the_examples_before_it():
    question = "Q: What is the name of the longest river of the northern valley?\nA:"
    clip = clipped_prompt("Q: Shot?\nA: Yes.\n\n" * 50 + question)
    assert (clip["head"], clip["tail"]) == ("", question)
