"""Trend pages in real Chromium, from disk: charts, keyboard, filters, colours, a phone, paper."""

import json
from pathlib import Path

import pytest
from chromium import LAID_OUT, NO_OVERFLOW, playwright
from nightly_runs import Line, Nights, name_of, write_history

from melange.reports.render import render_trends

STEP_AT = 30
BREAK_AT = 20
MISSING = range(10, 13)
LINE = 100
"""Opacity above which a pixel belongs to a line; a band has 38 of 255."""
DRAWN = """holder => {
  const canvas = holder.querySelector("canvas"), { width, height } = canvas;
  const copy = new OffscreenCanvas(width, height).getContext("2d");
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, width, height);
  const own = getComputedStyle(holder).color.match(/\\d+/g).map(Number);
  return Array.from({ length: width }, (_, x) => {
    const column = Array.from({ length: height }, (_, y) => (y * width + x) * 4);
    const isOwn = at => own.every((part, i) => Math.abs(part - data[at + i]) < 10);
    return column.filter(isOwn).map(at => data[at + 3]);
  });
}"""
"""Opacities of what a chart's canvas shows in the candidate's colour, column by column."""


def slower(night: int, line: Line) -> Line | None:
    """One candidate's accuracy and speed fall in one night; another lacks some nights."""
    if line["candidate"] == "candidate-2" and night in MISSING:
        return None
    stepped = line["task"] == "task_0" or line["metric"] == "total_tokens_per_sec"
    if line["candidate"] == "candidate-1" and stepped and night >= STEP_AT:
        for part in ("value", "ci_low", "ci_high"):
            line[part] *= 0.7
    return line


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("trends") / "nights"
    write_history(root, Nights(nights=40, candidates=6, tasks=2, workloads=2), slower)
    for night in range(BREAK_AT, 40):
        change_recipe(root / name_of(night) / "manifest.json", "candidate-3")
    report = root / name_of(39) / "report"
    report.mkdir()
    (report / "index.html").write_text("<!doctype html><title>The run's report</title>")
    (root / "half").mkdir()
    return render_trends(root)


def change_recipe(path: Path, name: str) -> None:
    manifest = json.loads(path.read_text())
    next(one for one in manifest["candidates"] if one["name"] == name)["recipe"]["method"] = "other"
    path.write_text(json.dumps(manifest))


@pytest.fixture(scope="module")
def metric(index: Path) -> Path:
    return next(index.parent.glob("trends/*/accuracy.html"))


def card(page, candidate: str, number: int = 0):
    return page.locator(f".trend-card[data-candidate='{candidate}']").nth(number)


def drawn(card) -> list[list[int]]:
    """Result of `DRAWN` for the card's chart, after scrolling it into view."""
    card.scroll_into_view_if_needed()
    playwright.expect(card.locator("canvas")).to_be_visible()
    return card.locator(".trend-drawing").evaluate(DRAWN)


def lines(columns: list[list[int]]) -> int:
    return sum(any(one > LINE for one in column) for column in columns)


def bands(columns: list[list[int]]) -> int:
    return sum(sum(0 < one < LINE for one in column) > 10 for column in columns)


def place(card, kind: str) -> float:
    """Left edge of an element over the chart, in pixels of the canvas."""
    canvas, mark = (card.locator(one).first.bounding_box() for one in ("canvas", kind))
    return mark["x"] - canvas["x"]


def test_the_index_draws_a_chart_in_every_cell_and_leads_to_it(index, visit):
    page = visit(index)
    cells = page.locator(".trend-cell")
    assert cells.count() == 6 * 6
    cells.last.scroll_into_view_if_needed()
    playwright.expect(page.locator(".trend-spark canvas")).to_have_count(6 * 6)
    assert lines(drawn(cells.first)) > 100
    cells.nth(6).click()
    page.wait_for_url("**/accuracy.html#*")
    assert page.locator(".trend-card:target .trend-name").inner_text().strip() == "candidate-1"


def test_a_chart_shows_run_band_level_and_step(metric, visit):
    page = visit(metric)
    stepped, steady = card(page, "candidate-1"), card(page, "candidate-0")
    columns = drawn(stepped)
    assert lines(columns) > 200
    assert bands(columns) > 200
    assert stepped.locator(".level").count() == 2
    assert stepped.locator(".step.worse").inner_text() == "▼"
    assert lines(drawn(steady)) > 200
    assert steady.locator(".step, .level").count() == 0


def test_a_number_without_intervals_has_no_band(metric, visit):
    columns = drawn(card(visit(metric.with_name("build-sec.html")), "candidate-0"))
    assert lines(columns) > 200
    assert bands(columns) == 0


def test_a_step_stands_at_its_run(metric, visit):
    one = card(visit(metric), "candidate-1")
    drawn(one)
    step, level = (one.locator(kind).last.bounding_box() for kind in (".step", ".level"))
    assert step["x"] + step["width"] / 2 == pytest.approx(level["x"], abs=1)


def test_a_line_ends_where_runs_lack_the_number(metric, visit):
    columns = drawn(card(visit(metric), "candidate-2"))
    inked = [x for x, column in enumerate(columns) if column]
    first, run = inked[0], (inked[-1] - inked[0]) / 39
    within = columns[round(first + MISSING[0] * run) : round(first + MISSING[-1] * run)]
    assert len(within) > 10
    assert not any(within)


def test_a_break_is_marked_and_ends_the_line(metric, visit):
    one = card(visit(metric), "candidate-3")
    columns = drawn(one)
    assert one.locator(".break").count() == 1
    assert one.locator(".step").count() == 0
    at = round(place(one, ".break"))
    assert not any(columns[at - 4 : at - 1])
    assert all(columns[at + 2 : at + 20])
    assert all(columns[at - 30 : at - 10])


def test_another_theme_redraws_the_charts_in_its_colours(metric, visit):
    page = visit(metric)
    one = card(page, "candidate-0")
    before = one.locator(".trend-drawing").evaluate("one => getComputedStyle(one).color")
    assert lines(drawn(one)) > 200
    page.get_by_role("button", name="Switch to dark colours").click()
    assert one.locator(".trend-drawing").evaluate("one => getComputedStyle(one).color") != before
    assert lines(drawn(one)) > 200


def test_charts_follow_the_width_of_the_window(metric, visit):
    page = visit(metric)
    one = card(page, "candidate-1")
    drawn(one)
    page.set_viewport_size({"width": 390, "height": 844})
    holder = one.locator(".trend-drawing")
    width = holder.evaluate("one => one.clientWidth")
    playwright.expect(one.locator("canvas")).to_have_css("width", f"{width}px")
    assert lines(drawn(one)) > 200


def test_the_keyboard_reads_every_run_and_opens_its_report(metric, visit):
    page = visit(metric)
    chart = card(page, "candidate-1", 1).get_by_role("slider")
    chart.focus()
    newest = chart.get_attribute("aria-valuetext")
    assert newest.startswith("2026-02-09 02:00: ")
    assert "n 500" in newest
    page.keyboard.press("Home")
    assert chart.get_attribute("aria-valuetext").startswith("2026-01-01 02:00: ")
    page.keyboard.press("ArrowLeft")
    assert chart.input_value() == "0"
    for _ in range(STEP_AT):
        page.keyboard.press("ArrowRight")
    assert "step, worse" in chart.get_attribute("aria-valuetext")
    shown = card(page, "candidate-1", 1).locator(".trend-readout").inner_text()
    assert shown == chart.get_attribute("aria-valuetext")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.wait_for_url("**/report/index.html")
    assert page.title() == "The run's report"


def test_the_keyboard_reaches_a_chart_that_is_not_drawn_yet(metric, visit):
    page = visit(metric, height=300)
    last = card(page, "candidate-5", 2)
    assert last.locator("canvas").count() == 0
    last.get_by_role("slider").evaluate("one => one.focus({ preventScroll: true })")
    assert last.locator(".trend-readout").inner_text().startswith("2026-02-09 02:00: ")
    plot, cursor = (last.locator(one).bounding_box() for one in (".u-over", ".u-cursor-x"))
    assert cursor["x"] == pytest.approx(plot["x"] + plot["width"], abs=2)


def test_the_pointer_reads_the_run_under_it(metric, visit):
    page = visit(metric)
    one = card(page, "candidate-2")
    one.locator(".trend-drawing").hover()
    assert "2026-01-" in one.locator(".trend-readout").inner_text()
    page.mouse.move(0, 0)
    assert one.locator(".trend-readout").inner_text() == ""


def test_filters_narrow_the_charts(metric, visit):
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


def test_paper_has_every_chart(metric, visit):
    page = visit(metric)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".trend-drawing canvas").count() == 6 * 3
    assert not page.locator(".tools").first.is_visible()


@pytest.mark.parametrize("which", ["index", "metric"])
def test_nothing_sticks_out_on_a_phone(which, request, visit):
    page = visit(request.getfixturevalue(which), width=390, height=844)
    page.add_style_tag(content=LAID_OUT)
    assert page.evaluate(NO_OVERFLOW)


@pytest.mark.parametrize("which", ["index", "metric"])
def test_ids_are_unique_and_links_lead_somewhere(which, request, visit):
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
def test_axe_finds_no_serious_fault(which, scheme, request, visit):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    page = visit(request.getfixturevalue(which), scheme=scheme)
    page.add_style_tag(content=LAID_OUT)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    found = axe.Axe().run(page).response["violations"]
    grave = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], one["nodes"][0]["html"]) for one in grave] == []


@pytest.mark.slow
def test_the_index_of_a_year_is_usable_within_a_second(tmp_path, visit):
    write_history(tmp_path, Nights(nights=365, candidates=12, tasks=12, workloads=4))
    page = visit(render_trends(tmp_path))
    timing = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
    assert page.evaluate(timing) <= 1000
