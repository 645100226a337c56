"""A folder of runs -> index.html and a page per metric beside them, with the numbers as CSV."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from melange.harness.errors import HarnessError
from melange.harness.metrics import headline
from melange.harness.runs.history import ACCURACY, read_history
from melange.harness.runs.layout import MANIFEST, TRENDS
from melange.reports.nightly.charts import Charts
from melange.reports.nightly.course import Course, TrendPage, label
from melange.reports.render import asset, page_environment, replace_file
from melange.reports.report import slugs
from melange.reports.tables import to_csv

PEAK = headline("memory")

NEWEST_CHANGES = 20
"""Runs with steps in the table of a page; the others are in steps.csv."""
RECENT = 14
"""Runs that the first sentence speaks of."""
OVERVIEW = (ACCURACY, "total_tokens_per_sec", "relative_throughput", PEAK,
            "build_sec")  # fmt: skip


def render_trends(root: Path) -> Path:
    """Write root/index.html and root/trends/, and return the index.

    Each file is replaced as a whole, the index last.

    Raises:
        HarnessError: there is no such folder, or the pages' own is taken.
    """
    history = read_history(root)
    if (root / TRENDS).is_symlink() or (root / TRENDS / MANIFEST).exists():
        raise HarnessError(
            f"{root / TRENDS} is where the pages go; give what is there another name"
        )
    by_series = history.by_series()
    names = slugs("\0".join(map(str, one)) for one in by_series).values()
    courses = [
        Course(series, nights, f"{TRENDS}/{name}")
        for name, (series, nights) in zip(names, by_series.items(), strict=True)
    ]
    written: set[Path] = set()
    for course in courses:
        for path, text in _files(course):
            written.add(replace_file(root / path, text))
    _remove_stale(root / TRENDS, written)
    page = TrendPage(kind="index", path="index.html", title=f"Trends of {root.resolve().name}")
    return replace_file(root / page.path, _html("index", page, courses, history=history))


def _files(course: Course) -> Iterator[tuple[str, str]]:
    for metric, page in course.pages.items():
        yield page.path, _html("metric", page, [course], metric=metric)
        yield f"{course.folder}/{metric}.csv", to_csv(_table(course, metric))
    yield f"{course.folder}/steps.csv", to_csv(_steps_table(course))


def _html(name: str, page: TrendPage, courses: Sequence[Course], **own: Any) -> str:
    environment = page_environment()
    charts = [Charts(course, page) for course in courses]
    return environment.get_template(f"trends/{name}.html").render(
        page=page,
        root=page.root,
        all_charts=charts,
        label=label,
        newest_changes=NEWEST_CHANGES,
        recent=RECENT,
        trend_styles=Markup(asset("vendor/uplot/uPlot.min.css") + asset("trends.css")),
        overview_metrics=OVERVIEW,
        **own,
    )


def _table(course: Course, metric: str) -> pd.DataFrame:
    names = [night.name for night in course.nights]
    frames = [
        pd.DataFrame(
            {
                "run": names,
                "candidate": trend.key.candidate,
                "subject": trend.key.subject or "all",
                "value": trend.values_N,
                "ci_low": trend.low_N,
                "ci_high": trend.high_N,
                "n": pd.array(trend.counts_N, dtype="Int64"),
            }
        ).iloc[trend.known]
        for trend in course.of(metric)
    ]
    return pd.concat(frames, ignore_index=True)


def _steps_table(course: Course) -> pd.DataFrame:
    rows = [
        {
            "run": event.night.name,
            "metric": event.trend.key.metric,
            "candidate": event.trend.key.candidate,
            "subject": event.trend.key.subject or "all",
            "verdict": event.trend.verdict(event.step),
            "before": event.step.before,
            "after": event.step.after,
            "change_ci_low": event.step.low,
            "change_ci_high": event.step.high,
            "runs_before": event.step.runs_before,
            "runs_after": event.step.runs_after,
            "came_with": "; ".join(event.came_with),
        }
        for event in course.events
    ]
    return pd.DataFrame(rows)


def _remove_stale(pages: Path, written: set[Path]) -> None:
    """Pages of metrics and series that no run has any more."""
    for path in set(pages.glob("*/*")) - written:
        if path.suffix in (".html", ".csv"):
            path.unlink()
    for folder in pages.glob("*"):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
