"""Hashes of files' contents, computed once per machine and file.

A file that was hashed before is known by its size, its times and its inode: reading gigabytes
again for each plan would take minutes. What is known stands in the cache, one line a file.
"""

import hashlib
import json
import time
from pathlib import Path

from melange.harness.cache import cache_dir

KNOWN = "checksums.jsonl"
SETTLED_SEC = 2.0
"""A file that changed less than this before it was hashed is hashed again next time: it may change
again within one time stamp."""
SAMPLED_BYTES = 2**30
NUM_SAMPLES, BYTES_PER_SAMPLE = 256, 4096
NOT_COUNTED = frozenset({"done.json", "README.md"})

Stamp = tuple[int, int, int, int]

_known: dict[tuple[str, Stamp], str] = {}
_read: set[Path] = set()


def file_hash(path: Path) -> str:
    """Hex digits of the file's SHA-256.

    Raises:
        OSError: it cannot be read.
    """
    path = path.resolve()
    book = cache_dir() / KNOWN
    if book not in _read:
        _read.add(book)
        _known.update(_read_book(book))
    stamp = _stamp(path)
    if (known := _known.get((path.as_posix(), stamp))) is not None:
        return known
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if time.time() - max(stamp[1], stamp[2]) / 1e9 > SETTLED_SEC:
        _known[path.as_posix(), stamp] = digest
        _write_line(book, path, stamp, digest)
    return digest


def folder_hash(folder: Path) -> str:
    """16 hex digits over the names and contents of a checkpoint's files, without subfolders.

    Of a file past a gibibyte, size and samples: a minute of reading would stand before each first
    plan. Training changes nearly all weights, so samples see it; single numbers may pass.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name not in NOT_COUNTED:
            content = file_hash(path) if path.stat().st_size <= SAMPLED_BYTES else _samples(path)
            digest.update(f"{path.name}:{content}\n".encode())
    return digest.hexdigest()[:16]


def _samples(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for sample in range(NUM_SAMPLES):
            file.seek(sample * size // NUM_SAMPLES)
            digest.update(file.read(BYTES_PER_SAMPLE))
    return digest.hexdigest()


def _stamp(path: Path) -> Stamp:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _read_book(book: Path) -> dict[tuple[str, Stamp], str]:
    try:
        lines = book.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        try:
            path, *stamp, digest = json.loads(line)
            size, changed, touched, inode = stamp
        except ValueError:  # two processes wrote at once, or one was killed
            continue
        found[path, (size, changed, touched, inode)] = digest
    return found


def _write_line(book: Path, path: Path, stamp: Stamp, digest: str) -> None:
    try:
        book.parent.mkdir(parents=True, exist_ok=True)
        with book.open("a", encoding="utf-8") as file:
            file.write(json.dumps([path.as_posix(), *stamp, digest]) + "\n")
    except OSError:
        return  # without a writable cache, the file is hashed again next time
