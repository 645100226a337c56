"""Run folder -> report/: pages from sections, data as CSV and Markdown.

Every page carries its stylesheet and script, so a page opens anywhere; a content security policy
lets only that script run and lets nothing be fetched.
"""

import base64
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from melange.harness.runs.layout import REPORT
from melange.reports.lm_eval_results import lm_eval_files
from melange.reports.load import Run, load_run
from melange.reports.report import Report
from melange.reports.sections import Block, Section, discover
from melange.reports.summary import summary
from melange.reports.tables import to_csv, to_markdown
from melange.reports.units import PERCENT, POINTS, duration, grouped, p_value, plural

HERE = Path(__file__).parent
OWN_PAGES = ("index", "candidate", "task", "samples")


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


def render(run_dir: Path, baseline: Run | None = None) -> Path:
    """Write run_dir/report/ and return its index.html.

    Raises:
        HarnessError: the folder is no run, or was written by a newer version.
    """
    return render_report(Report(load_run(run_dir), baseline))


def render_report(report: Report) -> Path:
    """Each file is replaced as a whole, the index last, so that a reader never sees half a page."""
    out = report.run.folder / REPORT
    sections = discover()
    # Navigation names them on every page, so what they hold is known first.
    extra = [(page, blocks) for page in extra_pages(sections)
             if (blocks := blocks_of(report, page, sections))]  # fmt: skip
    own = ((page, blocks_of(report, page, sections)) for page in own_pages(report))
    navigation = [page for page, _ in extra]
    written: set[Path] = set()
    for page, blocks in chain(extra, own):
        for _, block in blocks:
            for stem, table in block.tables.items():
                written.add(replace_file(out / "data" / f"{stem}.csv", to_csv(table)))
                written.add(replace_file(out / "data" / f"{stem}.md", to_markdown(table)))
        written.add(replace_file(out / page.path, page_html(report, page, blocks, navigation)))
    written |= {replace_file(out / path, text) for path, text in lm_eval_files(report)}
    replace_file(out / "summary.md", summary(report))
    _remove_stale(out, written)
    return out / "index.html"


def own_pages(report: Report) -> Iterator[Page]:
    """A page per task with samples, per candidate and per task, then the index."""
    # Samples first: a task's are read once, and candidates show excerpts of every task's.
    for name in report.samples.tasks:
        path = f"samples/{report.task_slugs[name]}.html"
        yield Page(kind="samples", subject=name, path=path, title=f"Samples of {name}")
    for name, slug in report.candidate_slugs.items():
        yield Page(kind="candidate", subject=name, path=f"candidates/{slug}.html", title=name)
    for name, slug in report.task_slugs.items():
        yield Page(kind="task", subject=name, path=f"tasks/{slug}.html", title=name)
    yield Page(kind="index", subject="", path="index.html", title=report.title)


def extra_pages(sections: Sequence[Section]) -> Iterator[Page]:
    """Pages of which a run has one, or none where no section has anything for it."""
    kinds = dict.fromkeys(s.page for s in sections if s.page not in OWN_PAGES)
    for kind in sorted(kinds, key=lambda kind: kind == "reproduction"):
        title = kind.replace("-", " ").capitalize()
        yield Page(kind=kind, subject="", path=f"{kind}.html", title=title)


def blocks_of(
    report: Report, page: Page, sections: Sequence[Section]
) -> list[tuple[Section, Block]]:
    """What the sections of this page have to show."""
    found = ((s, s.block(report, page.subject)) for s in sections if s.page == page.kind)
    return [(section, block) for section, block in found if block is not None]


def page_html(
    report: Report,
    page: Page,
    blocks: Sequence[tuple[Section, Block]],
    navigation: Sequence[Page],
) -> str:
    environment = page_environment()
    shared = _links(report, page) | {"report": report, "page": page}
    shown: list[dict[str, Any]] = []
    for section, block in blocks:
        template = environment.get_template(section.template)
        body = Markup(template.render(**shared, **block.data, csv_stems=sorted(block.tables)))
        shown.append({"title": section.title, "anchor": _anchor(section.title), "body": body})
    kind = page.kind if page.kind in OWN_PAGES else "page"
    return environment.get_template(f"{kind}.html").render(
        **shared, blocks=shown, navigation=navigation
    )


def _links(report: Report, page: Page) -> dict[str, Any]:
    return {
        "root": page.root,
        "candidate_href": lambda name: f"{page.root}candidates/{report.candidate_slugs[name]}.html",
        "task_href": lambda name: f"{page.root}tasks/{report.task_slugs[name]}.html",
        "samples_href": partial(_samples_href, report, page),
    }


def _samples_href(
    report: Report,
    page: Page,
    task: str,
    *,
    example: int | None = None,
    a: str = "",
    show: str = "",
) -> str:
    """The task's page of samples, at an example or filtered; its script reads the fragment."""
    given = {"a": report.candidate_slugs[a] if a else "", "show": show}
    parts = [f"example-{example}"] if example is not None else []
    parts += [f"{key}={value}" for key, value in given.items() if value]
    fragment = f"#{'&'.join(parts)}" if parts else ""
    return f"{page.root}samples/{report.task_slugs[task]}.html{fragment}"


def _anchor(title: str) -> str:
    return title.lower().replace(",", "").replace(" ", "-")


@cache
def page_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Markup: these files are ours or vendored. Whatever comes from a run is escaped.
    files = sorted((HERE / "assets").rglob("*.js"))
    scripts = {file.stem: Markup(file.read_text(encoding="utf-8")) for file in files}
    environment.globals |= {
        "stylesheet": Markup(asset("report.css")),
        "scripts": scripts,
        "security_policy": _security_policy(list(scripts.values())),
        "PERCENT": PERCENT,
        "POINTS": POINTS,
        "grouped": grouped,
        "plural": plural,
        "duration": duration,
        "p_value": p_value,
    }
    return environment


def asset(name: str) -> str:
    return (HERE / "assets" / name).read_text(encoding="utf-8")


def _security_policy(scripts: Sequence[str]) -> str:
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"style-src 'unsafe-inline'; script-src {hashes}"
    )


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def replace_file(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    # Model output may hold lone surrogates, which UTF-8 cannot write.
    partial.write_text(text, encoding="utf-8", errors="replace", newline="\n")
    os.replace(partial, path)
    return path


def _remove_stale(out: Path, written: set[Path]) -> None:
    """Pages of candidates and tasks that the run no longer has."""
    for pattern in ("*.html", "candidates/*.html", "tasks/*.html", "samples/*.html", "data/*.csv",
                    "data/*.md", "data/lm-eval/*.json"):  # fmt: skip
        for path in set(out.glob(pattern)) - written:
            path.unlink()
