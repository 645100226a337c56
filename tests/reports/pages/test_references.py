"""Figures that papers report for a zoo's checkpoints are stored, and shown beside measured ones."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from places import ROOT
from rendered import text_of
from report_run import Shape, write_run

from melange.baselines.zoo.public import PublicZoo
from melange.harness.records import Plan, Suite
from melange.harness.runs.manifest import Manifest
from melange.harness.runs.manifest_content import Inputs, RunState, make_manifest
from melange.reports.analysis.references import compared
from melange.reports.analysis.run import load_run
from melange.reports.render import render

ZOOS = ROOT / "baselines" / "zoo"
PAPER = "https://arxiv.org/abs/2401.08565"


def figure(candidate: str, task: str, **said: str | float) -> dict[str, str | float]:
    return {"candidate": candidate, "task": task, "value": 0.324, "source": PAPER, **said}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", Shape(candidates=3, tasks=2, examples=4))


def publish(run: Path, *figures: dict[str, str | float]) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"references": figures}))


def test_the_manifest_has_the_zoos_figures() -> None:
    zoo = PublicZoo.read(ZOOS / "llama2.yaml")
    suite = Suite(name="s", tasks={}, candidates=())
    plan = Plan(suite=suite, zoo="llama2", scale="public", tasks=(), candidates=(), cells=(),
                limit=None, seed=0, device="cpu")  # fmt: skip
    now = datetime.now(UTC)
    state = RunState(command=[], inputs=Inputs({}, {}, {}), timings={}, started=now, finished=now,
                     engines={}, references=zoo.reference)  # fmt: skip
    stored = json.loads(json.dumps(make_manifest(plan, None, state)))
    assert Manifest.model_validate(stored).references == zoo.reference
    proxies = [one for one in zoo.reference if one.candidate == "proxy_instructions"]
    assert {one.measured_as for one in proxies} == {"proxy-instructions-a1.0"}


def test_a_figure_is_beside_what_the_run_measured(run: Path) -> None:
    publish(
        run,
        figure("base", "knowledge"),
        figure("tuned_13b", "knowledge", measured_as="swa-averaging-1", metric="acc"),
    )
    loaded = load_run(run)
    names = ("base", "swa-averaging-1")
    found = [one.measured for one in compared(loaded)]
    assert found == [loaded.quality(name, "knowledge") for name in names]
    assert all(one.has_interval for one in found)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (figure("large_base", "knowledge"), "the run has no candidate large_base"),
        (figure("base", "gsm8k"), "the run has no task gsm8k"),
        (figure("base", "knowledge", metric="pass@10"), "not measured in this run"),
    ],
)
def test_a_figure_of_what_was_not_measured_stands_alone(run: Path, said, reason: str) -> None:
    publish(run, said)
    (found,) = compared(load_run(run))
    assert (found.measured.value, found.measured.reason) == (None, reason)
    page = render(run).with_name("references.html")
    assert "32.4" in text_of(page)
    assert reason in text_of(page)


def test_the_page_links_what_it_names_and_runs_no_markup(run: Path) -> None:
    publish(run, figure("base", "knowledge", note="<script>alert(1)</script>"),
            figure("x", "knowledge", source="javascript:alert(1)"))  # fmt: skip
    index = render(run)
    page = index.with_name("references.html").read_text()
    for target in ("candidates/base.html", "tasks/knowledge.html", PAPER):
        assert f'<a href="{target}">' in page
    assert "<script>alert" not in page
    assert 'href="javascript' not in page
    assert '<a href="references.html">Published figures</a>' in index.read_text()
    assert (index.parent / "data" / "published-figures.csv").is_file()


def test_a_run_without_figures_has_no_such_page(run: Path) -> None:
    publish(run, figure("base", "knowledge"))
    page = render(run).with_name("references.html")
    assert page.is_file()
    publish(run)
    render(run)
    assert not page.exists()
