"""The samples' page in real Chromium: what a task's filters had before them, and what each left."""

from browsed_samples import WHOLE, rows_of
from report_run import Shape, write_cell, write_run

from melange.reports.analysis.run import load_run
from melange.reports.render import render


def test_the_text_before_the_filters_is_shown_where_they_changed_it(tmp_path, visit):
    folder = write_run(tmp_path / "run", Shape(candidates=2, tasks=1))
    name = next(iter(load_run(folder).families))
    write_cell(folder, name, "knowledge", rows_of(name, 2)[:12])
    render(folder)
    for number, texts in ((9, ["Text before the filters"]), (10, [])):
        page = visit(folder / "report/samples/knowledge.html", fragment=f"#example-{number}")
        page.wait_for_selector(f"[data-shown='{number}']")
        response = page.locator(".response").first
        assert response.locator("summary").all_inner_texts() == texts
        assert (WHOLE in response.inner_text()) == bool(texts)
        assert ("Filter loose" in response.inner_text()) == bool(texts)
