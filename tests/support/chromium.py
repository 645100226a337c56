"""Opens pages from disk in Chromium."""

import shutil
from pathlib import Path

try:
    from playwright import sync_api as playwright
except ImportError:
    playwright = None

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
LACKS = (
    "playwright is not installed" if playwright is None
    else "" if Path(CHROMIUM).exists()
    else "no chromium: apt-get install chromium"
)  # fmt: skip
"""Why pages cannot be opened here; empty if they can."""
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
LAID_OUT = "main > section { content-visibility: visible !important; }"
"""Lays out sections far from view too; otherwise tests would miss their faults."""
NO_OVERFLOW = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
