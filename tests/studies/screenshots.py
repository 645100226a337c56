"""Takes screenshots of every kind of page: `make screenshots`, or

    python tests/studies/screenshots.py [RUN] [DIR]

Without RUN: runs/jan2024-pocket if it exists, else a run with invented numbers.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support")]

from chromium import ARGUMENTS, CHROMIUM  # noqa: E402
from report_run import Shape, write_run  # noqa: E402

from melange.reports.render import render  # noqa: E402

RUN, IMAGES = ROOT / "runs" / "jan2024-pocket", ROOT / "docs" / "images"
TALLEST = 1560
"""Greatest height in pixels: what is further down looks alike."""


class Shot(NamedTuple):
    name: str
    page: Path
    width: int = 1280
    scheme: str = "light"


def shots(report: Path) -> Iterator[Shot]:
    """The index three times, every other single page, and one page of each folder."""
    index = report / "index.html"
    yield Shot("report", index)
    yield Shot("report-dark", index, scheme="dark")
    yield Shot("report-phone", index, width=390)
    for page in sorted(report.glob("*.html")):
        if page != index:
            yield Shot(page.stem, page)
    for folder in sorted({page.parent for page in report.glob("*/*.html")}):
        yield Shot(folder.name.removesuffix("s"), min(folder.glob("*.html")))


def take(report: Path, out: Path) -> None:
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for shot in shots(report):
            page = browser.new_page(
                viewport={"width": shot.width, "height": 900}, color_scheme=shot.scheme
            )
            page.goto(shot.page.as_uri())
            height = page.evaluate("document.documentElement.scrollHeight")
            page.set_viewport_size({"width": shot.width, "height": min(height, TALLEST)})
            page.screenshot(path=out / f"{shot.name}.png")
            page.close()
            print(out / f"{shot.name}.png")
        browser.close()


def main(arguments: list[str]) -> None:
    run = Path(arguments[0]).resolve() if arguments else RUN
    out = Path(arguments[1]) if len(arguments) > 1 else IMAGES
    with tempfile.TemporaryDirectory() as scratch:
        if not arguments and not run.exists():
            run = write_run(Path(scratch) / "run", Shape(candidates=14, tasks=8, examples=60))
        index = run / "report" / "index.html"
        # An existing report may include a comparison, which rendering again would remove.
        take((index if index.exists() else render(run)).parent, out)


if __name__ == "__main__":
    main(sys.argv[1:])
