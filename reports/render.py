"""Renders a run's folder or a folder of runs: pages, and their tables as CSV and Markdown.

Every page embeds its stylesheet and script, so it opens anywhere; a content security policy allows
that script only, and no requests.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from melange.harness.errors import HarnessError
from melange.harness.runs.history import read_history
from melange.harness.runs.layout import MANIFEST, REPORT, TRENDS
from melange.reports.analysis.run import Run, load_run
from melange.reports.environment import page_environment
from melange.reports.page import Block, Page, PageFile, Section, View
from melange.reports.pages import pages_of
from melange.reports.series_view import HistoryView
from melange.reports.summary import summary
from melange.reports.tables.lm_eval_results import lm_eval_files
from melange.reports.view import RunView

INDEX = "index.html"


def render(run_dir: Path, baseline: Run | None = None) -> Path:
    """Write run_dir/report/ and return its index.html.

    Raises:
        HarnessError: the folder is no run, or was written by a newer version.
    """
    return render_report(RunView(load_run(run_dir), baseline))


def render_report(view: RunView) -> Path:
    out = view.run.folder / REPORT
    written = write_pages(view, out)
    found = lm_eval_files(view.run, view.candidate_slugs, view.scores)
    written |= {replace_file(out / path, text) for path, text in found}
    replace_file(out / "summary.md", summary(view))
    _remove_stale(out, written, ("*.html", "*/*.html", "data/*.csv", "data/*.md", "data/*/*.json"))
    return out / INDEX


def render_trends(root: Path) -> Path:
    """Write root/index.html and root/trends/, and return the index.

    Raises:
        HarnessError: there is no such folder, or the name of the pages' folder is taken.
    """
    view = HistoryView(read_history(root), f"Trends of {root.resolve().name}")
    if (root / TRENDS).is_symlink() or (root / TRENDS / MANIFEST).exists():
        raise HarnessError(
            f"{root / TRENDS} is where the pages go; give what is there another name"
        )
    written = {path for series in view.series for path in write_pages(series, root)}
    written |= write_pages(view, root)
    _remove_stale(root / TRENDS, written, ("*/*.html", "*/*.csv"))
    return root / INDEX


class Filled(NamedTuple):
    page: Page
    file: PageFile
    blocks: Sequence[tuple[Section, Block]]


def write_pages(view: View, out: Path) -> set[Path]:
    """All pages of the view, and the tables of their sections.

    Files are replaced atomically, the index last, so that a reader never sees half a page.
    """
    pages = pages_of(view.kind)
    # Every page's navigation lists all pages, so their contents are computed first.
    alone = [one for page in pages if not page.subjects for one in fill(view, page)]
    navigation = [one.file for one in alone if one.file.path != INDEX]
    written: set[Path] = set()
    for filled in _in_order(view, pages, alone):
        for _, block in filled.blocks:
            for stem, table in block.tables.items():
                for path, text in view.table_files(stem, table).items():
                    written.add(replace_file(out / path, text))
        written.add(replace_file(out / filled.file.path, page_html(view, filled, navigation)))
    return written


def _in_order(view: View, pages: Sequence[Page], alone: Sequence[Filled]) -> Iterator[Filled]:
    for page in pages:
        yield from fill(view, page) if page.subjects else (one for one in alone if one.page == page)


def fill(view: View, page: Page) -> Iterator[Filled]:
    """The page's files, each with its sections' data."""
    for file in page.files(view):
        found = ((section, section.block(view, file.subject)) for section in page.sections)
        blocks = [(section, block) for section, block in found if block is not None]
        if blocks:
            yield Filled(page, file, blocks)


def page_html(view: View, filled: Filled, navigation: Sequence[PageFile]) -> str:
    environment = page_environment()
    file = filled.file
    shared = {"view": view, "page": file, "root": file.root, **view.variables(file)}
    shown: list[dict[str, Any]] = []
    for section, block in filled.blocks:
        template = environment.get_template(section.template)
        body = Markup(template.render(**shared, **block.data, csv_stems=sorted(block.tables)))
        shown.append({"title": section.title, "anchor": _anchor(section.title), "body": body})
    return environment.get_template(filled.page.template).render(
        **shared, blocks=shown, navigation=navigation
    )


def _anchor(title: str) -> str:
    return title.lower().replace(",", "").replace(" ", "-")


def replace_file(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    # Model output may hold lone surrogates, which UTF-8 cannot write.
    partial.write_text(text, encoding="utf-8", errors="replace", newline="\n")
    os.replace(partial, path)
    return path


def _remove_stale(folder: Path, written: set[Path], patterns: Sequence[str]) -> None:
    """Removes files of candidates, tasks, metrics and series that no longer exist."""
    for pattern in patterns:
        for path in set(folder.glob(pattern)) - written:
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
