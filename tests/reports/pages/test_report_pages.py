"""Pages are discovered, obey their contract, and replace older ones."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT
from report_run import Shape, write_run

from melange.reports.analysis.run import load_run
from melange.reports.environment import page_environment
from melange.reports.page import Block, slugs
from melange.reports.pages import pages_of
from melange.reports.render import render
from melange.reports.view import RunView


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("report") / "run", Shape())


@pytest.mark.parametrize("page", pages_of("run"), ids=lambda page: page.name)
def test_pages_keep_the_contract(page, run):
    view = RunView(load_run(run))
    files = page.files(view)
    assert len({file.path for file in files}) == len(files) > 0
    for section in page.sections:
        block = section.block(view, files[0].subject)
        assert block is None or isinstance(block, Block)
        page_environment().get_template(section.template)
    assert page_environment().get_template(page.template)


def test_names_and_places_of_pages_are_their_own():
    for kind in ("run", "series", "history"):
        pages = pages_of(kind)
        assert pages
        assert len({page.name for page in pages}) == len(pages)
        titles = [[section.title for section in page.sections] for page in pages]
        assert all(len(set(one)) == len(one) > 0 for one in titles)


def test_importing_the_renderer_loads_no_heavy_module():
    code = (
        "import sys, melange.reports.render\n"
        "heavy = {'torch', 'vllm', 'lm_eval', 'matplotlib', 'transformers'} & set(sys.modules)\n"
        "sys.exit(' '.join(heavy) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)


def test_pages_of_candidates_that_are_gone_are_removed(run):
    stale = render(run).parent / "candidates" / "gone.html"
    stale.write_text("old")
    render(run)
    assert not stale.exists()


def test_slugs_are_unique_and_safe():
    found = slugs(["A b", "a-b", "../../etc", "", "é", "α", "ß"])
    assert len(set(found.values())) == len(found)
    assert all(re.fullmatch(r"[a-z0-9-]+", slug) for slug in found.values())
