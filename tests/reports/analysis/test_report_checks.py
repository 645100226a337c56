"""The report's sentences on a run's self-check."""

import json
from pathlib import Path
from typing import Any

import pytest
from report_run import Shape, write_run

from melange.harness.runs.samples import samples_hash
from melange.harness.verdicts import Check, Verdict
from melange.reports.analysis.checks import candidate_sentence, run_sentence
from melange.reports.analysis.run import load_run
from melange.reports.render import render
from melange.reports.view import RunView

TASK = "knowledge"
ATTACK = "<script>alert(1)</script>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", Shape(candidates=4, tasks=3))


def told(folder: Path, **checks: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"checks": checks}))


def write_checks(folder: Path, *checks: Check) -> None:
    kept = [
        one.model_copy(update={"samples": samples_hash(folder, one.candidate, one.task or "")})
        for one in checks
    ]
    lines = "".join(one.model_dump_json() + "\n" for one in kept)
    (folder / "checks.jsonl").write_text(lines)


def check(**more: Any) -> Check:
    fields: dict[str, Any] = {"candidate": "base", "task": TASK, "example": 3,
                              "kind": "likelihood", "verdict": Verdict.AGREED,
                              "difference": 2e-5, "tolerance": 1e-3}  # fmt: skip
    return Check(**fields | more)


def dispute(folder: Path, candidate: str) -> None:
    """Marks a cell as disputed, as the runner does."""
    lines = [json.loads(line) for line in (folder / "measurements.jsonl").open()]
    line = next(one for one in lines if (one["candidate"], one.get("task")) == (candidate, TASK))
    line |= {"value": None, "outcome": "disputed", "reason": "example 3: -1 nats, transformers -4"}
    with (folder / "measurements.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def test_a_run_that_was_not_checked_says_why(folder: Path) -> None:
    assert "of a version that did not check" in run_sentence(load_run(folder))
    told(folder, examples=0)
    assert "told to leave it out" in run_sentence(load_run(folder))
    assert candidate_sentence(load_run(folder), "base").startswith("not checked")
    told(folder, examples=8)
    assert "stopped before it came to it" in run_sentence(load_run(folder))


def test_examples_that_agree_are_counted_with_the_worst_difference(folder: Path) -> None:
    told(folder, examples=8)
    write_checks(folder, check(), check(example=4, difference=1e-6))
    run = load_run(folder)
    assert candidate_sentence(run, "base") == "checked: 2 of 2, worst 2e-05"
    sentence = run_sentence(run)
    assert "2 examples once more, in 1 of" in sentence
    assert "all agree, at worst 2e-05 nats apart" in sentence
    assert "Unchecked: " in sentence


def test_what_transformers_cannot_run_is_unchecked_with_its_reason(folder: Path) -> None:
    told(folder, examples=8)
    reason = "transformers has no such architecture"
    lacking = check(task=None, example=None, verdict=Verdict.UNCHECKED, reason=reason)
    write_checks(folder, lacking)
    render(folder)
    page = (folder / "report" / "index.html").read_text()
    assert f"unchecked: {reason}" in page


def test_a_disputed_cell_shows_both_answers_and_has_no_place(folder: Path) -> None:
    told(folder, examples=8)
    answers = {"ours": f"-1.0 {ATTACK}", "theirs": "-4.0"}
    write_checks(
        folder, check(verdict=Verdict.DISPUTED, difference=3.0, **answers), check(example=4)
    )
    dispute(folder, "base")
    report = RunView(load_run(folder))
    assert "base" not in report.evidence.ranked
    assert report.run.quality("base", TASK).outcome == "disputed"
    render(folder)
    index = (folder / "report" / "index.html").read_text()
    assert "gap gap-disputed" in index
    assert "-1.0 &lt;script&gt;" in index
    assert ATTACK not in index
    assert "1 cell is disputed" in index
    assert "disputed" in (folder / "report" / "summary.md").read_text()
    candidate = (folder / "report" / "candidates" / "base.html").read_text()
    assert "-4.0" in candidate
    assert "checked: 1 of 2" in candidate


def test_a_check_of_samples_that_were_measured_again_is_not_shown(folder: Path) -> None:
    told(folder, examples=8)
    write_checks(folder, check())
    path = folder / "samples" / "base" / f"{TASK}.parquet"
    path.write_bytes(path.read_bytes() + b"other")
    assert load_run(folder).checks == ()
