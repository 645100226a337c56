"""Trend pages in real Chromium, from disk: charts, keyboard, filters, colours, a phone, paper."""

from pathlib import Path

import pytest
from nightly_runs import Line, Nights, name_of, write_history
from test_report_browser import (  # noqa: F401
    LAID_OUT,
    NO_OVERFLOW,
    browser,
    playwright,
    visit,
)

from melange.reports.render import render_trends

STEP_AT = 30


def slower(night: int, line: Line) -> Line:
    """One candidate's accuracy and speed fall at a night; each fifth night lacks a task."""
    stepped = line["task"] == "task_0" or line["metric"] == "total_tokens_per_sec"
    if line["candidate"] == "candidate-1" and stepped and night >= STEP_AT:
        for part in ("value", "ci_low", "ci_high"):
            line[part] *= 0.7
    return line


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("trends") / "nights"
    write_history(root, Nights(nights=40, candidates=6, tasks=2, workloads=2), slower)
    report = root / name_of(39) / "report"
    report.mkdir()
    (report / "index.html").write_text("<!doctype html><title>The run's report</title>")
    (root / "half").mkdir()
    return render_trends(root)


@pytest.fixture(scope="module")
def metric(index: Path) -> Path:
    return next(index.parent.glob("trends/*/accuracy.html"))


def card(page, candidate: str, number: int = 0):
    return page.locator(f".trend-card[data-candidate='{candidate}']").nth(number)


def test_the_index_draws_a_chart_in_every_cell_and_leads_to_it(index, visit):  # noqa: F811
    page = visit(index)
    cells = page.locator(".trend-cell")
    assert cells.count() == 6 * 5
    cells.last.scroll_into_view_if_needed()
    playwright.expect(page.locator(".trend-spark svg")).to_have_count(6 * 5)
    cells.nth(5).click()
    page.wait_for_url("**/accuracy.html#*")
    assert page.locator(".trend-card:target .trend-name").inner_text().strip() == "candidate-1"


def test_a_chart_shows_run_band_level_and_step(metric, visit):  # noqa: F811
    page = visit(metric)
    chart = card(page, "candidate-1").locator("svg:not(.mark)")
    chart.scroll_into_view_if_needed()
    assert chart.locator(".run").count() == 1
    assert chart.locator(".band").count() == 1
    assert chart.locator(".level").count() == 2
    assert chart.locator(".step.worse").count() == 1
    assert card(page, "candidate-0").locator(".step").count() == 0


def test_the_keyboard_reads_every_run_and_opens_its_report(metric, visit):  # noqa: F811
    page = visit(metric)
    chart = card(page, "candidate-1", 1).get_by_role("slider")
    chart.focus()
    newest = chart.get_attribute("aria-valuetext")
    assert newest.startswith("2026-02-09 02:00: ")
    assert "n 500" in newest
    page.keyboard.press("Home")
    assert chart.get_attribute("aria-valuetext").startswith("2026-01-01 02:00: ")
    page.keyboard.press("ArrowLeft")
    assert chart.get_attribute("aria-valuenow") == "0"
    for _ in range(STEP_AT):
        page.keyboard.press("ArrowRight")
    assert "step, worse" in chart.get_attribute("aria-valuetext")
    shown = card(page, "candidate-1", 1).locator(".trend-readout").inner_text()
    assert shown == chart.get_attribute("aria-valuetext")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.wait_for_url("**/report/index.html")
    assert page.title() == "The run's report"


def test_the_pointer_reads_the_run_under_it(metric, visit):  # noqa: F811
    page = visit(metric)
    one = card(page, "candidate-2")
    one.get_by_role("slider").hover()
    assert "2026-01-" in one.locator(".trend-readout").inner_text()
    page.mouse.move(0, 0)
    assert one.locator(".trend-readout").inner_text() == ""


def test_filters_narrow_the_charts(metric, visit):  # noqa: F811
    page = visit(metric)
    shown = page.locator(".trend-card:visible")
    assert shown.count() == 6 * 3
    page.get_by_label("Filter candidates").fill("DATE-3")
    assert shown.count() == 3
    assert page.locator("#trend-count").inner_text() == "3 of 18 trends"
    page.get_by_label("Filter candidates").fill("")
    page.get_by_role("radio", name="With a step").press("Space")
    assert {one.get_attribute("data-candidate") for one in shown.all()} == {"candidate-1"}
    assert page.locator(".trend-group:visible").count() == 2
    page.get_by_role("checkbox", name="averaging").press("Space")
    assert shown.count() == 0


def test_paper_has_every_chart(metric, visit):  # noqa: F811
    page = visit(metric)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".trend-drawing svg").count() == 6 * 3
    assert not page.locator(".tools").first.is_visible()


@pytest.mark.parametrize("which", ["index", "metric"])
def test_nothing_sticks_out_on_a_phone(which, request, visit):  # noqa: F811
    page = visit(request.getfixturevalue(which), width=390, height=844)
    page.add_style_tag(content=LAID_OUT)
    assert page.evaluate(NO_OVERFLOW)


@pytest.mark.parametrize("which", ["index", "metric"])
def test_ids_are_unique_and_links_lead_somewhere(which, request, visit):  # noqa: F811
    path = request.getfixturevalue(which)
    page = visit(path)
    ids = page.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
    assert len(ids) == len(set(ids))
    for target in page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)"):
        file, _, anchor = target.removeprefix("file://").partition("#")
        assert Path(file).is_file(), target
        assert not anchor or f'id="{anchor}"' in Path(file).read_text(), target


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["index", "metric"])
def test_axe_finds_no_serious_fault(which, scheme, request, visit):  # noqa: F811
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    page = visit(request.getfixturevalue(which), scheme=scheme)
    page.add_style_tag(content=LAID_OUT)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    found = axe.Axe().run(page).response["violations"]
    grave = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], one["nodes"][0]["html"]) for one in grave] == []


@pytest.mark.slow
def test_the_index_of_a_year_is_usable_within_a_second(tmp_path, visit):  # noqa: F811
    write_history(tmp_path, Nights(nights=365, candidates=12, tasks=12, workloads=4))
    page = visit(render_trends(tmp_path))
    timing = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
    assert page.evaluate(timing) <= 1000
