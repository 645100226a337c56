"""The cache of trained and merged checkpoints."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """$MELANGE_CACHE, else ~/.cache/melange; it may not exist yet."""
    return Path(os.environ.get("MELANGE_CACHE") or Path.home() / ".cache" / "melange")
