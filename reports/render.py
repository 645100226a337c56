"""Run folder -> report/: pages from sections, data as CSV.

Every page carries its stylesheet and script, so a page opens anywhere; a content security policy
lets only that script run and lets nothing be fetched.
"""

import base64
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports.load import load_run
from reports.report import Report
from reports.sections import Section, discover
from reports.units import PERCENT, POINTS, duration, grouped, plural

HERE = Path(__file__).parent
OWN_PAGES = ("index", "candidate", "task")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    kind: str
    """The `page` of its sections; also its template, where there is one."""
    subject: str
    path: str
    """Relative to report/."""
    title: str

    @property
    def root(self) -> str:
        return "../" * self.path.count("/")


def render(run_dir: Path) -> Path:
    """Write run_dir/report/ and return its index.html.

    Each file is replaced as a whole, the index last, so that a reader never sees half a page.

    Raises:
        HarnessError: the folder is no run, or was written by a newer version.
    """
    report = Report(load_run(run_dir))
    out = run_dir / "report"
    sections = discover()
    written: set[Path] = set()
    for page in sorted(pages(report, sections), key=lambda p: p.path == "index.html"):
        html, tables = render_page(report, page, sections)
        for stem, table in tables.items():
            written.add(_replace(out / "data" / f"{stem}.csv", to_csv(table)))
        written.add(_replace(out / page.path, html))
    _remove_stale(out, written)
    return out / "index.html"


def pages(report: Report, sections: Sequence[Section]) -> Iterator[Page]:
    yield Page(kind="index", subject="", path="index.html", title=report.title)
    for name, slug in report.candidate_slugs.items():
        yield Page(kind="candidate", subject=name, path=f"candidates/{slug}.html", title=name)
    for name, slug in report.task_slugs.items():
        yield Page(kind="task", subject=name, path=f"tasks/{slug}.html", title=name)
    for kind in dict.fromkeys(s.page for s in sections if s.page not in OWN_PAGES):
        yield Page(kind=kind, subject="", path=f"{kind}.html", title=kind.capitalize())


def render_page(
    report: Report, page: Page, sections: Sequence[Section]
) -> tuple[str, dict[str, pd.DataFrame]]:
    """The page's HTML and the tables that go with it."""
    environment = _environment()
    shared = _links(report, page) | {"report": report, "page": page}
    tables: dict[str, pd.DataFrame] = {}
    blocks: list[dict[str, Any]] = []
    for section in sections:
        block = section.block(report, page.subject) if section.page == page.kind else None
        if block is None:
            continue
        tables |= block.tables
        template = environment.get_template(section.template)
        body = Markup(template.render(**shared, **block.data, csv_stems=sorted(block.tables)))
        blocks.append({"title": section.title, "anchor": _anchor(section.title), "body": body})
    kind = page.kind if page.kind in OWN_PAGES else "page"
    html = environment.get_template(f"{kind}.html").render(
        **shared, blocks=blocks, extra_pages=_extra_pages(sections)
    )
    return html, tables


def _links(report: Report, page: Page) -> dict[str, Any]:
    return {
        "root": page.root,
        "candidate_href": lambda name: f"{page.root}candidates/{report.candidate_slugs[name]}.html",
        "task_href": lambda name: f"{page.root}tasks/{report.task_slugs[name]}.html",
    }


def _extra_pages(sections: Sequence[Section]) -> list[str]:
    return list(dict.fromkeys(s.page for s in sections if s.page not in OWN_PAGES))


def _anchor(title: str) -> str:
    return title.lower().replace(",", "").replace(" ", "-")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Markup: these files are ours. Whatever comes from a run is escaped.
    scripts = {name: Markup(_asset(f"{name}.js")) for name in ("theme", "report")}
    environment.globals |= {
        "stylesheet": Markup(_asset("report.css")),
        "scripts": scripts,
        "security_policy": _security_policy(list(scripts.values())),
        "PERCENT": PERCENT,
        "POINTS": POINTS,
        "grouped": grouped,
        "plural": plural,
        "duration": duration,
    }
    return environment


def _asset(name: str) -> str:
    return (HERE / "assets" / name).read_text(encoding="utf-8")


def _security_policy(scripts: Sequence[str]) -> str:
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"style-src 'unsafe-inline'; script-src {hashes}"
    )


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def to_csv(table: pd.DataFrame) -> str:
    """Full precision; a cell that a spreadsheet would run as a formula gets a leading quote."""
    return table.map(_inert).to_csv(index=False, lineterminator="\n")


def _inert(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def _replace(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    # Model output may hold lone surrogates, which UTF-8 cannot write.
    partial.write_text(text, encoding="utf-8", errors="replace", newline="\n")
    os.replace(partial, path)
    return path


def _remove_stale(out: Path, written: set[Path]) -> None:
    """Pages of candidates and tasks that the run no longer has."""
    for pattern in ("candidates/*.html", "tasks/*.html", "data/*.csv"):
        for path in set(out.glob(pattern)) - written:
            path.unlink()
