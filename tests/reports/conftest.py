"""Fixtures for tests of pages."""

from pathlib import Path

import pytest
from chromium import ARGUMENTS, CHROMIUM, LACKS, playwright


@pytest.fixture(scope="module")
def browser():
    if LACKS:
        pytest.skip(LACKS)
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def visit(browser):
    """Opens a page; fails afterwards on any error, dialog, or request other than for files."""
    contexts, complaints = [], []

    def open_page(path: Path, *, fragment="", width=1280, height=900, scheme="light", allow=()):
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            permissions=list(allow),
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append("dialog"), dialog.dismiss()))
        page.on(
            "request", lambda r: None if r.url.startswith("file:") else complaints.append(r.url)
        )
        page.goto(path.as_uri() + fragment)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
