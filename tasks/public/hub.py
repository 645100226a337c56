"""What the Hugging Face hub's cache holds, read from its folders: no import, no network.

Only `reachable` talks to anyone, once per process, and only if the environment lets it.
"""

import os
import re
import threading
from functools import cache
from pathlib import Path

DATA_SUFFIXES = {".parquet", ".jsonl", ".json", ".csv", ".arrow"}


def hub_cache() -> Path:
    """Where huggingface_hub keeps repositories."""
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(given).expanduser() if given else _home() / "hub"


def datasets_cache() -> Path:
    """Where `datasets` keeps the tables that it made of repositories."""
    given = os.environ.get("HF_DATASETS_CACHE")
    return Path(given).expanduser() if given else _home() / "datasets"


def _home() -> Path:
    if given := os.environ.get("HF_HOME"):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "huggingface"


def snapshot(repo: str, *, kind: str = "models", revision: str | None = None) -> Path | None:
    """The cached files of `repo`; `kind` is models or datasets. They may be incomplete."""
    folder = hub_cache() / f"{kind}--{repo.replace('/', '--')}"
    name = revision or "main"
    reference = folder / "refs" / name
    commit = reference.read_text().strip() if reference.is_file() else name
    found = folder / "snapshots" / commit
    return found if found.is_dir() else None


def dataset_prepared(repo: str, name: str | None) -> bool:
    """Whether `datasets` can load `repo` with no network; a bare download does not do."""
    owner, _, short = repo.rpartition("/")
    # The library's own way from CamelCase to the folder's name.
    snake = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", short)
    snake = re.sub(r"([a-z\d])([A-Z])", r"\1_\2", snake).lower()
    folder = datasets_cache() / (f"{owner}___{snake}" if owner else snake)
    return any(path.is_dir() for path in folder.glob(f"{name or '*'}/*/*"))


def dataset_snapshot(repo: str) -> Path | None:
    """A download of a dataset with its data, not only its card; loads as a local folder."""
    found = snapshot(repo, kind="datasets")
    if found and any(path.suffix in DATA_SUFFIXES for path in found.rglob("*")):
        return found
    return None


def offline() -> bool:
    """Whether the environment forbids asking the hub."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
    return any(os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"} for name in names)


def reachable() -> bool:
    """Whether the hub answers within a second."""
    return not offline() and _answers(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))


@cache
def _answers(address: str, *, seconds: float = 1.0) -> bool:
    answers: list[bool] = []
    # Looking up a name has no time limit of its own, so the wait is cut off from outside.
    asking = threading.Thread(target=lambda: answers.append(_ask(address, seconds)), daemon=True)
    asking.start()
    asking.join(seconds)
    return bool(answers and answers[0])


def _ask(address: str, seconds: float) -> bool:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    try:
        urlopen(Request(address, method="HEAD"), timeout=seconds).close()
    except HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True
