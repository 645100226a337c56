"""Pages in real Chromium, from disk."""

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
"""Why pages cannot be opened here; empty where they can."""
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
LAID_OUT = "main > section { content-visibility: visible !important; }"
"""What is far from view is not laid out otherwise, so that nothing could be found wrong with it."""
NO_OVERFLOW = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
