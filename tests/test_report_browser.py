"""The index in real Chromium, from disk: sorting, filtering, colours, a phone's width."""

import shutil
from pathlib import Path

import pytest
from report_run import Shape, write_lines, write_run, write_samples
from test_report import ATTACK, lines_of

from reports.render import render

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
pytestmark = pytest.mark.skipif(
    not Path(CHROMIUM).exists(), reason="no chromium: apt-get install chromium"
)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
NO_OVERFLOW = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("browser") / "run", Shape(examples=8))
    rows = [{"example": 0, "prompt": ATTACK, "target": "1", "response": ATTACK,
             "logprobs": None, "score": 0.0}]  # fmt: skip
    write_samples(folder, "base", "knowledge", rows)
    write_lines(folder, lines_of(folder))
    return render(folder)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def visit(browser):
    """Open a page; afterwards there must have been no error, dialog, or request but for files."""
    contexts, complaints = [], []

    def open_page(path: Path, *, width=1280, height=900, scheme="light"):
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append("dialog"), dialog.dismiss()))
        page.on(
            "request", lambda r: None if r.url.startswith("file:") else complaints.append(r.url)
        )
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def column(page, key: str) -> list[str]:
    """What the visible rows hold in a column, for sorting."""
    return page.evaluate(
        """key => {
          const table = document.getElementById("leaderboard-table");
          const at = [...table.tHead.rows[0].cells].findIndex(c => c.dataset.key === key);
          const shown = [...table.tBodies[0].rows].filter(row => !row.hidden);
          return shown.map(row => row.cells[at].dataset.sort);
        }""",
        key,
    )


def decode_key(page) -> str:
    return (
        page.locator("#leaderboard-table")
        .get_by_role("columnheader", name="Decode")
        .get_attribute("data-key")
    )


def test_sorting_by_mouse_and_keyboard_keeps_gaps_last(index, visit):
    page = visit(index)
    key = decode_key(page)
    header = page.locator(f"#leaderboard-table th[data-key='{key}']")
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    values = [float(v) for v in column(page, key) if v]
    assert values == sorted(values, reverse=True)
    assert column(page, key)[-1] == ""
    header.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    assert [float(v) for v in column(page, key) if v] == sorted(values)
    assert column(page, key)[-1] == ""


def test_text_and_family_filters_narrow_the_rows(index, visit):
    page = visit(index)
    page.get_by_label("Filter").fill("AVERAGING")
    assert set(column(page, "family")) == {"averaging"}
    assert page.locator("#count").inner_text() == "2 of 8 candidates"
    page.get_by_label("Filter").fill("")
    page.get_by_role("checkbox", name="averaging").press("Space")
    assert "averaging" not in column(page, "family")
    assert len(column(page, "family")) == 6


def test_columns_open_by_domain_and_by_task(index, visit):
    page = visit(index)
    task = page.locator("#leaderboard-table th.group-task").first
    assert not task.is_visible()
    page.get_by_role("radio", name="By task").check()
    assert task.is_visible()
    assert not page.locator("#leaderboard-table th.group-domain").first.is_visible()


def test_the_chosen_colours_hold_and_follow_the_system_before(index, visit):
    page = visit(index, scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.get_by_role("button", name="Switch to light").click()
    light = page.evaluate(background)
    assert light != dark
    page.reload()
    assert page.evaluate(background) == light
    assert page.get_by_role("button", name="Switch to dark").is_visible()


@pytest.mark.parametrize("pattern", ["index.html", "candidates/base.html", "tasks/knowledge.html"])
def test_nothing_sticks_out_on_a_phone(index, visit, pattern):
    page = visit(index.parent / pattern, width=390, height=844)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert page.evaluate(NO_OVERFLOW)


def test_markup_in_model_output_does_nothing(index, visit):
    page = visit(index.parent / "candidates" / "base.html")
    page.locator("details.samples summary").first.click()
    assert page.get_by_text(ATTACK).first.is_visible()
    assert page.title() == "base · Melange"


def test_links_lead_to_pages_and_sections_that_exist(index, visit):
    for path in (index, index.parent / "candidates" / "base.html"):
        page = visit(path)
        targets = page.eval_on_selector_all(
            "a[href]", "links => links.map(a => a.getAttribute('href'))"
        )
        for target in {t for t in targets if t and not t.startswith("http")}:
            file, _, anchor = target.partition("#")
            assert not file or (path.parent / file).is_file(), target
            assert not anchor or file or page.locator(f"[id='{anchor}']").count() == 1, target


def test_ids_are_unique(index, visit):
    ids = visit(index).eval_on_selector_all("[id]", "all => all.map(e => e.id)")
    assert len(ids) == len(set(ids))
