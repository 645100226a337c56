"""Where trained and merged checkpoints are kept between runs."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """$MELANGE_CACHE, else ~/.cache/melange; it may not exist yet."""
    return Path(os.environ.get("MELANGE_CACHE") or Path.home() / ".cache" / "melange")
