"""The Markdown summary for a CI job's page escapes all text of a run."""

import json
from pathlib import Path

import pytest
from report_run import Shape, write_run

from melange.reports.analysis.run import load_run
from melange.reports.render import render
from melange.reports.summary import FAILURES, TOP, summary
from melange.reports.view import RunView

ATTACK = "</details><img src=x onerror=alert(1)> | [a](javascript:b) `c` *d* _e_"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", Shape(candidates=14, tasks=4, examples=16))


def text_of(run: Path, baseline: Path | None = None) -> str:
    return summary(RunView(load_run(run), load_run(baseline) if baseline else None))


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.split("### Leaderboard")[1].splitlines() if line[:1] == "|"]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_report_comes_with_it(run: Path) -> None:
    index = render(run)
    assert (index.parent / "summary.md").read_text() == text_of(run)


def test_it_says_what_was_run_and_shows_the_best_with_n_and_interval(run: Path) -> None:
    text = text_of(run)
    assert text.startswith("## Invented run")
    assert "suite invented · zoo pocket · cpu · 14 candidates · 4 tasks" in text
    header, rule, *body = rows(text)
    assert set(rule) == {"---"}
    assert len(body) == TOP
    assert {len(row) for row in (header, *body)} == {7}
    ranking = RunView(load_run(run)).ranking
    assert [row[1].replace("\\", "") for row in body] == ranking[:TOP]
    assert all("–" in row[3] and int(row[4]) > 0 for row in body)
    assert "4 further candidates in the report" in text


def test_failures_are_named_with_their_reason(run: Path) -> None:
    text = text_of(run)
    assert "layer 3 gave no numbers &lt;b>(dare)&lt;/b>" in text
    assert "the engine ran out of memory while it started" in text


def test_many_failures_are_counted(run: Path) -> None:
    line = {"candidate": "base", "family": "checkpoint", "task": "knowledge", "outcome": "failed"}
    with (run / "measurements.jsonl").open("a") as file:
        for number in range(50):
            file.write(json.dumps(line | {"metric": f"m{number}", "reason": "x" * 999}) + "\n")
    text = text_of(run)
    assert text.count("\n- ") == FAILURES + 1
    assert "more in the report" in text
    assert max(len(line) for line in text.splitlines() if line.startswith("- ")) < 300


def test_a_comparison_comes_before_the_leaderboard(run: Path, tmp_path: Path) -> None:
    before = write_run(tmp_path / "before", Shape(candidates=14, tasks=4, examples=16))
    text = text_of(run, before)
    assert text.index("Against before") < text.index("### Leaderboard")
    assert "Against" not in text_of(run)


def test_what_a_run_wrote_is_no_markup(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["suite"]["title"] = manifest["git_revision"] = ATTACK
    manifest["candidates"][0]["name"] = manifest["zoo"]["name"] = ATTACK
    (run / "manifest.json").write_text(json.dumps(manifest))
    text = text_of(run)
    assert "<img" not in text
    assert "\n| " in text
    assert {len(row) for row in rows(text)} == {7}
    assert "[a](javascript" not in text.replace("\\[a", "")


def test_an_empty_run_has_a_summary(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"schema_version": 1}')
    assert "### Leaderboard" in text_of(tmp_path)
