"""The report in real Chromium, from disk: sorting, filtering, choosing, colours, a phone."""

import re
from pathlib import Path

import pytest
from chromium import LAID_OUT, NO_OVERFLOW, playwright
from rendered import ATTACK, lines_of
from report_run import Shape, write_cell, write_lines, write_run

from melange.reports.analysis.run import Run, load_run
from melange.reports.render import render
from melange.reports.view import RunView


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("browser") / "run", Shape(examples=8))
    rows = [{"example": 0, "prompt": ATTACK, "target": "1", "response": ATTACK,
             "logprobs": None, "score": 0.0}]  # fmt: skip
    write_cell(folder, "base", "knowledge", rows)
    write_lines(folder, lines_of(folder))
    return render(folder)


def column(page, key: str) -> list[str]:
    """Sort keys of a column's visible rows."""
    return page.evaluate(
        """key => {
          const table = document.getElementById("leaderboard-table");
          const at = [...table.tHead.rows[0].cells].findIndex(c => c.dataset.key === key);
          const shown = [...table.tBodies[0].rows].filter(row => !row.hidden);
          return shown.map(row => row.cells[at].dataset.sort);
        }""",
        key,
    )


def hide_family(page, family: str) -> None:
    page.locator("[data-tools=leaderboard]").get_by_role("checkbox", name=family).press("Space")


def limit(page, label: str, value: str) -> None:
    page.get_by_label(re.compile(f"^{label} at (most|least)$")).fill(value)


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
    hide_family(page, "averaging")
    assert "averaging" not in column(page, "family")
    assert len(column(page, "family")) == 6


def test_groups_of_columns_are_shown_on_demand(index, visit):
    page = visit(index)
    task = page.locator("#leaderboard-table th.group-task").first
    assert not task.is_visible()
    page.get_by_role("checkbox", name="Tasks").press("Space")
    assert task.is_visible()
    page.get_by_role("checkbox", name="Speed").press("Space")
    assert not page.locator("#leaderboard-table th.group-speed").first.is_visible()


def test_the_address_holds_the_view(index, visit):
    page = visit(index)
    key = decode_key(page)
    page.locator(f"#leaderboard-table th[data-key='{key}'] button").click()
    page.get_by_label("Filter").fill("e")
    hide_family(page, "merging")
    page.get_by_role("checkbox", name="Domains").press("Space")
    limit(page, "Memory needed", "30")
    shared = page.evaluate("location.hash")
    again = visit(index, fragment=shared)
    for opened in (page, again):
        assert opened.locator(f"th[data-key='{key}']").get_attribute("aria-sort") == "descending"
        assert opened.locator("th.group-domain").first.is_visible()
        assert opened.get_by_label("Memory needed at most").input_value() == "30"
    assert column(page, "name") == column(again, "name")
    # Not inner_text(), which is empty for what is far from view.
    answers = [opened.locator("#chooser-answer").text_content() for opened in (page, again)]
    assert answers[0] == answers[1] != ""
    # Only after loading are the heights of all sections above known.
    playwright.expect(again.locator("#choose-within-bounds")).to_be_in_viewport()


def test_a_view_of_another_report_shows_all_rows(index, visit):
    page = visit(index, fragment="#leaderboard?sort=gone&hide=gone&columns=none")
    assert len(column(page, "name")) == 8


def test_a_link_to_a_section_still_leads_there(index, visit):
    page = visit(index)
    page.get_by_role("navigation", name="On this page").get_by_role("link").last.click()
    page.evaluate("""() => new Promise(resolve => {
        const look = () => scrollY > 1000 ? resolve() : requestAnimationFrame(look);
        look(); })""")


def test_copied_markdown_is_the_table_as_shown(index, visit):
    page = visit(index, allow=["clipboard-read", "clipboard-write"])
    page.get_by_label("Filter").fill("merging")
    page.locator("#leaderboard").get_by_role("button", name="Copy as Markdown").click()
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert [line.split(" | ")[1] for line in lines[2:]] == column(page, "name")
    assert len({line.count(" | ") for line in lines}) == 1


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


def test_nothing_sticks_out_on_a_phone(index, visit):
    kinds = [*index.parent.glob("*.html"), index.parent / "candidates" / "base.html",
             index.parent / "tasks" / "knowledge.html"]  # fmt: skip
    assert len(kinds) > 6
    for path in kinds:
        page = visit(path, width=390, height=844)
        page.add_style_tag(content=LAID_OUT)
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        assert page.evaluate(NO_OVERFLOW), path


def test_nothing_is_cut_off_in_print(index, visit):
    """A4 landscape without margins of 10 mm is 277 mm wide."""
    for path in (index, index.with_name("latency.html"), index.parent / "candidates" / "base.html"):
        page = visit(path, width=1047)
        page.emulate_media(media="print")
        assert page.evaluate(NO_OVERFLOW), path
        assert not page.locator("header, .tools, .copy").filter(visible=True).count()
        hidden = """all => all.filter(e => e.getClientRects().length
            && getComputedStyle(e).overflow !== "visible").length"""
        assert page.eval_on_selector_all("main .scroll", hidden) == 0


def chosen(page) -> str:
    return page.locator("#chooser-answer strong").first.text_content()


def readings(run: Run, metric: str, workload: str | None = None) -> dict[str, float | None]:
    return {c: run.read(c, metric, workload=workload).value for c in run.families}


def best_of(run: Run, names: set[str]) -> str:
    """The best of these candidates that have all tasks, by the page's ranking."""
    rows = RunView(run).standings
    return next(r.candidate for r in rows if r.candidate in names and r.mean and r.mean.complete)


def test_the_chooser_names_the_best_within_all_bounds(index, visit):
    run = load_run(index.parent.parent)
    memory, speed = (
        readings(run, "needed_memory_bytes"),
        readings(run, "decode_tokens_per_sec", "8/512"),
    )
    page = visit(index)
    assert chosen(page) == best_of(run, set(run.families))
    most = sorted(memory.values())[3] / 2**20 + 0.01
    least = sorted(v for v in speed.values() if v)[1]
    page.get_by_label("Unit of Memory needed").select_option("KiB")
    limit(page, "Memory needed", f"{most * 1024}")
    limit(page, "Decoding speed", f"{least}")
    fitting = {
        name for name, value in speed.items()
        if value and value >= least and memory[name] <= most * 2**20
    }  # fmt: skip
    assert chosen(page) == best_of(run, fitting)


def test_what_was_not_measured_passes_no_bound(index, visit):
    page = visit(index)
    unmeasured = "slerp-mixture-3"
    limit(page, "Decoding speed", "0")
    answer = page.locator("#chooser-answer")
    reason = answer.locator("li", has_text="Decoding speed is not known")
    assert unmeasured in reason.text_content()
    assert "the engine ran out of memory while it started" in reason.text_content()
    assert chosen(page) != unmeasured


def test_the_chooser_says_what_each_bound_excluded_and_that_nothing_fits(index, visit):
    page = visit(index)
    limit(page, "Memory needed", "0.5")
    answer = page.locator("#chooser-answer")
    assert "Nothing fits." in answer.text_content()
    excluded = answer.locator("li", has_text="Memory needed above 0.5 MiB")
    assert excluded.get_by_role("link").count() == 8
    limit(page, "Memory needed", "")
    for box in page.locator("input[name=choose]").all()[1:]:
        box.press("Space")
    assert "Family not chosen" in answer.text_content()
    assert chosen(page).startswith(("base", "checkpoint"))


def test_one_cells_command_follows_the_reader(index, visit):
    page = visit(index.parent / "reproduction.html")
    page.get_by_label("Task").select_option("arithmetic")
    page.get_by_label("Candidate").select_option("base")
    command = page.locator("pre.command").last.inner_text()
    assert command == ("python run_all.py --suite invented --zoo pocket --only base "
                       "--tasks arithmetic --out runs/one-cell")  # fmt: skip


def test_all_is_reached_by_keyboard_alone(index, visit):
    """Tab visits every control in visual order and is never trapped."""
    page = visit(index)
    wanted = page.evaluate("""() => [...document.querySelectorAll(
        "a[href], button, input, select, [tabindex='0']")]
        .filter(e => e.getClientRects().length && !e.closest("svg")
            && (e.type !== "radio" || e.checked)).length""")
    reached = set()
    for _ in range(wanted + 200):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("""() => {
            const all = window.all ??= [...document.querySelectorAll("*")];
            return all.indexOf(document.activeElement); }""")
        )
    assert len(reached) >= wanted


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


@pytest.mark.slow
def test_a_large_index_is_soon_usable(tmp_path, visit):
    """The target is one second on an idle machine; this one may be busy."""
    index = render(write_run(tmp_path / "run", Shape(candidates=60, tasks=30, examples=4)))
    assert index.stat().st_size < 3e6
    page = visit(index)
    assert page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") < 3000
    page.get_by_label("Filter").fill("averaging")
    assert len(column(page, "name")) == 10
