"""The page that compares two runs, in real Chromium, from disk."""

from pathlib import Path

import pytest
from chromium import NO_OVERFLOW
from comparison_run import REFERENCE, forget, samples, slow_down, timed, write_pair
from rendered import ATTACK
from report_run import write_samples
from test_report_accessible import grave_faults

from melange.reports.analysis.run import load_run
from melange.reports.render import render

TASK = "knowledge"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    old, new = write_pair(tmp_path_factory.mktemp("compare"))
    forget(new, REFERENCE, TASK, 20)
    for folder in (old, new):
        rows = samples(folder, REFERENCE, TASK)
        rows[0] |= {"prompt": ATTACK, "target": ATTACK, "response": f"{folder.name} {ATTACK}"}
        write_samples(folder, REFERENCE, TASK, rows)
    slow_down(new, 1.4, timed(new)[1])
    return render(new, load_run(old)).parent / "compare.html"


def test_the_verdict_comes_first_and_names_what_is_worse(page_file, visit):
    page = visit(page_file)
    first = page.locator("section").first
    assert first.locator("h2").inner_text() == "Verdict"
    assert "regressions against old" in first.inner_text()
    assert "−33.3 points" in first.locator(".worse").all_inner_texts()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(page_file, visit, scheme):
    assert grave_faults(visit(page_file, scheme=scheme)) == []


def test_a_flipped_example_shows_both_answers_as_text(page_file, visit):
    page = visit(page_file)
    examples = page.locator("#flipped-examples details[open]").first
    answers = examples.locator(".responses").first.locator(".response")
    assert answers.count() == 2
    assert f"old {ATTACK}" in answers.nth(0).inner_text()
    assert f"new {ATTACK}" in answers.nth(1).inner_text()
    assert page.title() == "Compare · Melange"


def test_a_flipped_example_leads_to_its_page_of_samples(page_file, visit):
    page = visit(page_file)
    link = page.locator("#flipped-examples a", has_text="example 0").first
    assert link.get_attribute("href") == f"samples/{TASK}.html#example-0"
    link.click()
    assert page.title().startswith(f"Samples of {TASK}")


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out(page_file, visit, width):
    page = visit(page_file, width=width)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert page.evaluate(NO_OVERFLOW)


def test_every_page_names_the_comparison(page_file, visit):
    page = visit(page_file.parent / "index.html")
    page.get_by_role("link", name="Compare", exact=True).click()
    assert page.locator("h1").inner_text() == "Compare"
