"""The environment of the templates, with the stylesheets and scripts embedded in every page."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from melange.reports.tables.files import shown_columns, shown_rows
from melange.reports.units import PERCENT, POINTS, duration, grouped, p_value, plural

HERE = Path(__file__).parent


@cache
def page_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Not escaped, because these files are ours or vendored. All text from a run is escaped.
    files = sorted((HERE / "assets").rglob("*.js"))
    scripts = {file.stem: Markup(file.read_text(encoding="utf-8")) for file in files}
    environment.globals |= {
        "stylesheet": Markup(asset("report.css")),
        "trend_styles": Markup(asset("vendor/uplot/uPlot.min.css") + asset("trends.css")),
        "scripts": scripts,
        "security_policy": _security_policy(list(scripts.values())),
        "PERCENT": PERCENT,
        "POINTS": POINTS,
        "grouped": grouped,
        "plural": plural,
        "duration": duration,
        "p_value": p_value,
        "shown_columns": shown_columns,
        "shown_rows": shown_rows,
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
